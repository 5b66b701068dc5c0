"""What becomes of a pack that fails: the rules, on packs and answers that the test makes up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from changed_config import config
from evaluator_world import evaluator, trial, untimed

from pareto_rec.core.errors import RunFailedError
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.execution.workers.packs import Pack, Trouble, evaluate_pack, halves
from pareto_rec.execution.workers.pool import InProcess, Processes, Task, WorkerDied
from pareto_rec.runs.record import Record

pytestmark = pytest.mark.usefixtures("single_thread")

DIED = WorkerDied("its worker died (SIGKILL(-9))")
SLOW = WorkerDied("took more than 5 s", overtime=True)


class Scripted:
    """A pool whose answers are made up; it keeps what was asked."""

    def __init__(self, answer: Callable[[list[int], int], Any]) -> None:
        self.answer = answer
        self.asked: list[list[int]] = []

    def run(self, queue: deque[Task], limit: float | None) -> Iterator[tuple[Task, Any]]:
        assert limit is None or limit == 5.0
        while queue:
            task = queue.popleft()
            names = [one.index for one in task.argument]
            self.asked.append(names)
            yield task, self.answer(names, self.asked.count(names))

    def close(self) -> None:
        pass


@pytest.fixture
def subject(tmp_path: Path) -> Evaluator:
    return evaluator(tmp_path / "fits")


PACK = [trial(n, rate=0.01 * (n + 1), candidates=2) for n in range(4)]


def good(subject: Evaluator, names: list[int]) -> list[Record]:
    """Records that look as if they had been measured."""
    return [one for n in names for one in subject.records(PACK[n], f"fit {n}", None, "made up")]


def worked(
    subject: Evaluator, answer: Callable[[list[int], int], Any], retries: int = 2
) -> tuple[Scripted, Workers, list[Record]]:
    pool = Scripted(answer)
    workers = Workers(1, config(search__retries=retries), Path("cache"), subject)
    workers._pool = pool
    records = [record for found in workers.evaluate([PACK]) for record in found]
    return pool, workers, records


def reasons(records: list[Record]) -> dict[int, str | None]:
    return {(record.position - 10) // 2: record.reason for record in records}


def test_a_pack_whose_worker_died_is_tried_again_whole(subject: Evaluator) -> None:
    pool, workers, records = worked(
        subject, lambda names, count: DIED if count < 3 else good(subject, names)
    )
    assert pool.asked == [[0, 1, 2, 3]] * 3
    assert workers.retried == 2
    assert records == good(subject, [0, 1, 2, 3])


def test_a_fit_that_kills_every_worker_fails_alone(subject: Evaluator) -> None:
    pool, workers, records = worked(
        subject, lambda names, _: DIED if 2 in names else good(subject, names)
    )
    assert pool.asked == [[0, 1, 2, 3]] * 3 + [[0, 1], [2, 3], [2], [3]]
    assert workers.retried == len(pool.asked) - 3  # all but the first and what ended well, or not
    assert len(records) == 8
    failed = [record for record in records if record.reason != "made up"]
    assert {record.reason for record in failed} == {f"{DIED.reason}, 3 times"}
    assert reasons(failed) == {2: f"{DIED.reason}, 3 times"}
    assert {record.status for record in failed} == {"failed"}


@pytest.mark.parametrize("reason", ["out of memory", "RuntimeError: broken"])
def test_what_fails_of_itself_is_halved_and_not_repeated(subject: Evaluator, reason: str) -> None:
    trouble = Trouble(reason)
    pool, workers, records = worked(
        subject, lambda names, _: trouble if 1 in names else good(subject, names), retries=0
    )
    assert pool.asked == [[0, 1, 2, 3], [0, 1], [0], [1], [2, 3]]
    assert workers.retried == 2
    assert reasons(records) == {0: "made up", 1: reason, 2: "made up", 3: "made up"}


def test_a_pack_that_fits_into_memory_in_halves_loses_nothing(subject: Evaluator) -> None:
    trouble = Trouble("out of memory")
    pool, _, records = worked(
        subject, lambda names, _: trouble if len(names) > 2 else good(subject, names)
    )
    assert pool.asked == [[0, 1, 2, 3], [0, 1], [2, 3]]
    assert records == good(subject, [0, 1, 2, 3])


def test_what_takes_too_long_fails_at_once(subject: Evaluator) -> None:
    pool, workers, records = worked(subject, lambda *_: SLOW)
    assert pool.asked == [[0, 1, 2, 3]]
    assert workers.retried == 0
    assert set(reasons(records).values()) == {SLOW.reason}


def test_halves_lose_nothing() -> None:
    for size in range(2, 6):
        pack = PACK[:size] if size <= 4 else [*PACK, PACK[0]]
        parts: list[Pack] = halves(pack)
        assert [one for part in parts for one in part] == pack
        assert all(parts)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    ],
)
def test_want_of_memory_is_known_by_its_many_names(error: Exception, tmp_path: Path) -> None:
    class Failing:
        def evaluate(self, _: Pack) -> list[Record]:
            raise error

    found = evaluate_pack(Failing(), PACK, tmp_path)  # type: ignore[arg-type]  # all it is asked
    assert found == Trouble("out of memory")


def test_other_errors_are_told_by_their_first_line(tmp_path: Path) -> None:
    class Failing:
        def evaluate(self, _: Pack) -> list[Record]:
            raise ValueError("wrong\nand a trace")

    found = evaluate_pack(Failing(), PACK, tmp_path)  # type: ignore[arg-type]  # all it is asked
    assert found == Trouble("ValueError: wrong")


def test_other_work_over_which_workers_die_is_repeated_and_then_given_up(
    subject: Evaluator,
) -> None:
    class Dying(Scripted):
        def run(self, queue: deque[Task], limit: float | None) -> Iterator[tuple[Task, Any]]:
            assert limit is None
            while queue:
                task = queue.popleft()
                self.asked.append([task.tries])
                yield task, self.answer([], task.tries)

    workers = Workers(1, config(), Path("cache"), subject)
    workers._pool = Dying(lambda _, tries: DIED if tries < 2 else "done")
    assert list(workers.unordered(lambda *_: None, ["a"])) == ["done"]
    assert workers.retried == 2
    workers._pool = Dying(lambda *_: DIED)
    with pytest.raises(RunFailedError, match="3 times over the same work"):
        list(workers.unordered(lambda *_: None, ["a"]))


def test_a_time_limit_needs_a_process_that_can_be_ended(subject: Evaluator, tmp_path: Path) -> None:
    with Workers(1, config(), tmp_path, subject) as workers:
        assert isinstance(workers._pool, InProcess)
        found = list(workers.evaluate([PACK[:1]]))
        assert untimed(found[0]) == untimed(subject.evaluate(PACK[:1]))
    with Workers(1, config(search__timeout_s=5.0), tmp_path, subject) as workers:
        assert isinstance(workers._pool, Processes)
