"""Where packs are evaluated: in this process, or in several of one thread each."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool
from safetensors import SafetensorError

from pareto_rec.config import Config
from pareto_rec.errors import RunFailedError
from pareto_rec.evaluate import Evaluator, failed
from pareto_rec.experiment import worker_evaluator
from pareto_rec.paths import CACHE_VARIABLE
from pareto_rec.records import Record
from pareto_rec.search import Trial
from pareto_rec.threads import one_thread

Job = Callable[[Evaluator, Any, Path], Any]  # what it takes and gives is the caller's affair


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that never hear of Ctrl-C: it reaches the whole group, and is the parent's.

    Blocked signals are inherited, so that there is no moment in which a process is not yet deaf.
    For the parent they come when the block ends.
    """
    resource_tracker.ensure_running()  # starting it later would unblock them too early
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """End when the parent does, however it ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end_processes() -> None:
    """Stop the worker processes and wait for their end."""
    get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


def evaluate_pack(evaluator: Evaluator, pack: Sequence[Trial], _: Path) -> list[Record]:
    """Records of a pack; whatever goes wrong becomes failed records with the reason.

    Raises:
        RunFailedError: If a fit cannot be stored, which is no fault of a candidate.
    """
    try:
        return evaluator.evaluate(pack)
    except (OSError, SafetensorError) as error:
        raise RunFailedError(
            f"a fit cannot be stored: {error}; free some space, or set {CACHE_VARIABLE} to a "
            "folder that can be written, and search again"
        ) from error
    except Exception as error:  # a failed evaluation is a record, whatever failed
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return [record for trial in pack for record in failed(evaluator, trial, reason)]


def _in_worker(job: Job, config_json: str, cache: Path, argument: object) -> Any:
    return job(worker_evaluator(config_json, cache), argument, cache)


class Workers:
    """Runs jobs on evaluators of one config; results come as they finish.

    Each process uses one thread: two processes of one thread do twice the work of one process of
    two.
    """

    def __init__(self, count: int, config: Config, cache: Path, evaluator: Evaluator) -> None:
        """Prepare, without starting anything.

        Args:
            count: Processes; 1 works in this one.
            config: What the evaluators are built from.
            cache: Root of the cache.
            evaluator: The one of this process.
        """
        self.count, self.cache, self.evaluator = count, cache, evaluator
        self.config_json = config.model_dump_json()
        self.stack = ExitStack()
        self.parallel: joblib.Parallel | None = None

    def __enter__(self) -> Self:
        if self.count > 1:
            self.stack.callback(_end_processes)
            self.stack.enter_context(
                joblib.parallel_config(
                    "loky", inner_max_num_threads=1, initializer=_end_with, initargs=(os.getpid(),)
                )
            )
            self.parallel = self.stack.enter_context(
                joblib.Parallel(n_jobs=self.count, return_as="generator_unordered", batch_size=1)
            )
        else:
            self.stack.enter_context(one_thread())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stack.close()

    def unordered(self, job: Job, arguments: Iterable[object]) -> Iterator[Any]:
        """Results of a job, one per argument, as they finish."""
        if self.parallel is None:
            yield from (job(self.evaluator, argument, self.cache) for argument in arguments)
        else:
            call = joblib.delayed(_in_worker)
            tasks = (call(job, self.config_json, self.cache, argument) for argument in arguments)
            try:
                with _deaf():  # the first call starts the processes
                    results = self.parallel(tasks)
                yield from results
            except BrokenProcessPool as error:
                raise RunFailedError(
                    f"one of {self.count} workers died, perhaps for want of memory; what was "
                    "recorded is kept, and fits are cached: search again with fewer --workers"
                ) from error

    def evaluate(self, packs: Sequence[Sequence[Trial]]) -> Iterator[list[Record]]:
        """Records of each pack, as packs finish."""
        yield from self.unordered(evaluate_pack, packs)

    def map(self, job: Job, arguments: Sequence[str]) -> list[Any]:
        """Results of a job in the order of its arguments."""
        found = dict(self.unordered(_named, [(job, argument) for argument in arguments]))
        return [found[argument] for argument in arguments]


def _named(evaluator: Evaluator, argument: tuple[Job, str], cache: Path) -> tuple[str, Any]:
    job, name = argument
    return name, job(evaluator, name, cache)
