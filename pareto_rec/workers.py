"""Where packs are evaluated: in this process, or in several of one thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import joblib

from pareto_rec.config import Config
from pareto_rec.evaluate import Evaluator, failed
from pareto_rec.experiment import worker_evaluator
from pareto_rec.records import Record
from pareto_rec.search import Trial
from pareto_rec.threads import one_thread

Job = Callable[[Evaluator, Any, Path], Any]  # what it takes and gives is the caller's affair


def evaluate_pack(evaluator: Evaluator, pack: Sequence[Trial], _: Path) -> list[Record]:
    """Records of a pack; whatever goes wrong becomes failed records with the reason."""
    try:
        return evaluator.evaluate(pack)
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
            self.stack.enter_context(joblib.parallel_config("loky", inner_max_num_threads=1))
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

    def _unordered(self, job: Job, arguments: Iterable[object]) -> Iterator[Any]:
        if self.parallel is None:
            yield from (job(self.evaluator, argument, self.cache) for argument in arguments)
        else:
            call = joblib.delayed(_in_worker)
            tasks = (call(job, self.config_json, self.cache, argument) for argument in arguments)
            yield from self.parallel(tasks)

    def evaluate(self, packs: Sequence[Sequence[Trial]]) -> Iterator[list[Record]]:
        """Records of each pack, as packs finish."""
        yield from self._unordered(evaluate_pack, packs)

    def map(self, job: Job, arguments: Sequence[str]) -> list[Any]:
        """Results of a job in the order of its arguments."""
        found = dict(self._unordered(_named, [(job, argument) for argument in arguments]))
        return [found[argument] for argument in arguments]


def _named(evaluator: Evaluator, argument: tuple[Job, str], cache: Path) -> tuple[str, Any]:
    job, name = argument
    return name, job(evaluator, name, cache)
