"""Evaluation of packs by workers, with retries and halving of packs that fail."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.threads import one_thread
from pareto_rec.evaluation.candidates import CandidateEvaluator, failed
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution.workers.cluster import Cluster
from pareto_rec.execution.workers.packs import Pack, Trouble, evaluate_pack, halves
from pareto_rec.execution.workers.pool import (
    InProcess,
    Pool,
    Processes,
    Task,
    WorkerDied,
    pinned,
)
from pareto_rec.execution.workers.remote import on_cluster, shared_folder
from pareto_rec.experiment.config import Config, SearchConfig
from pareto_rec.experiment.config.sections import TrainConfig
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.record import Record

Job = Callable[[Any, Any, Path], Any]  # what it takes and gives is the caller's affair


class PoolConfig(Protocol):
    """What a pool reads of a config, whatever it is a config of."""

    @property
    def search(self) -> SearchConfig:
        """Time limit and tries."""

    @property
    def train(self) -> TrainConfig:
        """Device."""

    def model_dump_json(self) -> str:
        """Return it as JSON, from which a worker makes it again."""


E_co = TypeVar("E_co", bound=CandidateEvaluator, covariant=True)
Build = Callable[[str, Path], Any]  # config as JSON and root of the cache -> evaluator


def _in_worker(build: Build, config_json: str, cache: Path, job: Job, argument: object) -> Any:
    return job(build(config_json, cache), argument, cache)


def _prepare(build: Build, config_json: str, cache: Path) -> None:
    build(config_json, cache)


def _visible_gpus(config: PoolConfig, device: torch.device) -> list[str]:
    """Names of the GPUs that processes can be pinned to; none where the config names one."""
    if device.type != "cuda" or config.train.device not in ("auto", "cuda"):
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return chosen.split(",") if chosen else [str(n) for n in range(torch.cuda.device_count())]


Part = TypeVar("Part")


class EvaluatorPool(Generic[E_co]):
    """Runs jobs on evaluators of one config; results come as they finish.

    Each process uses one thread: two processes of one thread do twice the work of one process of
    two. A worker that dies is replaced, and its pack tried again as it was, ``search.retries``
    times; what fails of itself would fail again, so a pack of several fits is halved until those
    that are at fault stand alone, and these get failed records. A pack that takes longer than
    ``search.timeout_s`` fails at once, since another try would take as long.

    Attributes:
        count: Processes, or threads of a cluster.
        retried: Packs that were tried again, whole or in halves.
    """

    def __init__(
        self,
        count: int,
        config: PoolConfig,
        cache: Path,
        evaluator: E_co,
        build: Build,
        backend: str | None = None,
    ) -> None:
        """Set up the workers; processes start with their first task.

        Args:
            count: Processes; 1 works in this one, unless there is a time limit.
            config: What the evaluators are built from.
            cache: Root of the cache.
            evaluator: The one of this process.
            build: Makes the same in another process; picklable.
            backend: ``dask://HOST:PORT``: work there instead.
        """
        self._build = build
        self.count, self.cache, self.evaluator = count, cache, evaluator
        self.retried = 0
        self._config, self._backend = config, backend
        self._config_json = config.model_dump_json()
        self._stack = ExitStack()
        self._pool: Pool

    def __enter__(self) -> Self:
        self._pool = self._open()
        self._stack.callback(self._pool.close)
        return self

    def _open(self) -> Pool:
        limit = self._config.search.timeout_s
        if self._backend is not None:
            shared = self._stack.enter_context(shared_folder(self.cache))
            call = partial(on_cluster, shared, self._build, self._config_json)
            cluster = Cluster(self._backend, call)
            self.count = cluster.size
            return cluster
        if self.count == 1 and limit is None:
            self._stack.enter_context(one_thread())
            return InProcess(lambda job, argument: job(self.evaluator, argument, self.cache))
        return Processes(
            partial(_in_worker, self._build, self._config_json, self.cache),
            partial(_prepare, self._build, self._config_json, self.cache),
            pinned(self.count, _visible_gpus(self._config, self.evaluator.device)),
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def evaluate(self, packs: Sequence[Pack]) -> Iterator[list[Record]]:
        """Yield records of packs or halves of them, as they finish; one record per candidate."""
        for pack, result in self.settled(evaluate_pack, packs):
            if isinstance(result, str):
                yield [record for trial in pack for record in failed(self.evaluator, trial, result)]
            else:
                yield result

    def settled(
        self, job: Job, packs: Sequence[Sequence[Part]]
    ) -> Iterator[tuple[Sequence[Part], list[Any] | str]]:
        """Yield packs or halves of them with a job's results for each part, or why there are none.

        Args:
            job: Takes a pack, and gives a list or `Trouble`.
            packs: What to work on: trials, or settings.

        Yields:
            As they finish: the pack, and the list of the job or the reason.
        """
        queue = deque(Task(job, pack) for pack in packs)
        for task, result in self._pool.run(queue, self._config.search.timeout_s):
            again = self._again(task, result)
            queue.extendleft(reversed(again))
            self.retried += bool(again)
            if not again:
                yield task.argument, self._outcome(task, result)

    def _again(self, task: Task, result: object) -> list[Task]:
        """Return what is left to try after a result of a pack."""
        if isinstance(result, WorkerDied):
            if result.overtime:
                return []
            if task.tries < self._config.search.retries:
                return [replace(task, tries=task.tries + 1)]
        if isinstance(result, WorkerDied | Trouble) and len(task.argument) > 1:
            return [replace(task, argument=half) for half in halves(task.argument)]
        return []

    def _outcome(self, task: Task, result: list[Any] | WorkerDied | Trouble) -> list[Any] | str:
        if isinstance(result, list):
            return result
        if task.tries and isinstance(result, WorkerDied):
            return f"{result.reason}, {task.tries + 1} times"
        return result.reason

    def unordered(self, job: Job, arguments: Iterable[object]) -> Iterator[Any]:
        """Yield results of a job, one per argument, as they finish.

        Raises:
            RunFailedError: If workers keep dying over one of them.
        """
        queue = deque(Task(job, argument) for argument in arguments)
        for task, result in self._pool.run(queue, None):
            if not isinstance(result, WorkerDied):
                yield result
            elif task.tries < self._config.search.retries:
                self.retried += 1
                queue.append(replace(task, tries=task.tries + 1))
            else:
                raise RunFailedError(
                    f"{result.reason}, {task.tries + 1} times over the same work; what was "
                    "recorded is kept: go on with --resume and fewer --workers"
                )

    def map(self, job: Job, arguments: Sequence[str]) -> list[Any]:
        """Return results of a job in the order of its arguments."""
        results = dict(self.unordered(_named, [(job, argument) for argument in arguments]))
        return [results[argument] for argument in arguments]


class Workers(EvaluatorPool[Evaluator]):
    """Runs jobs on evaluators of an experiment on one system."""

    def __init__(
        self,
        count: int,
        config: Config,
        cache: Path,
        evaluator: Evaluator,
        backend: str | None = None,
    ) -> None:
        """Set up the workers; arguments as in `EvaluatorPool`."""
        super().__init__(count, config, cache, evaluator, _evaluator, backend)


def _evaluator(config_json: str, cache: Path) -> Evaluator:
    return Experiment.for_worker(config_json, cache).evaluator()


def _named(evaluator: Any, argument: tuple[Job, str], cache: Path) -> tuple[str, Any]:
    job, name = argument
    return name, job(evaluator, name, cache)
