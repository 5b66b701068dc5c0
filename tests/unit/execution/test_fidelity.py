"""A generation that stops fits early: the same records whoever asks, how often, and after what."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from changed_config import config
from evaluator_world import evaluator, trial

from pareto_rec.core.threads import one_thread
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.rung_packs import RungHistory, panel
from pareto_rec.execution.successive_halving import Fidelity, SuccessiveHalving
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.execution.workers.packs import Trouble
from pareto_rec.execution.workers.pool import Task
from pareto_rec.runs.record import Record
from pareto_rec.search import Goal, Trial
from pareto_rec.training.checkpoints import FOLDER
from pareto_rec.training.pack import Pack

GOALS = (Goal("ndcg@10", True, 0.0), Goal("ild@10", True, 0.1))
PLAN = Fidelity((20,), 0.5, 0.0, GOALS)
TRIALS = [trial(n, rate=rate) for n, rate in enumerate((0.02, 1e-4, 0.01, 2e-4))]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of fits of every step that is made."""
    made: list[int] = []
    step = Pack._step

    def counted(self: Pack, *arguments: Any) -> None:
        made.append(len(self.specs))
        step(self, *arguments)

    monkeypatch.setattr(Pack, "_step", counted)
    return made


def generation(
    subject: Evaluator,
    packs: Sequence[Sequence[Trial]],
    stored: Sequence[Record] = (),
    plan: Fidelity = PLAN,
    *,
    stop_after: int | None = None,
) -> list[Record]:
    """All records of a generation in their order; those that come first where it is stopped."""
    known = {record.id: record for record in stored}
    found: list[Record] = []
    with Workers(1, config(), Path("cache"), subject) as workers:
        halving, left = SuccessiveHalving(plan, workers), list(packs)
        for records, rest in halving.through(packs, known):
            found += records
            left = list(rest)
        for records in workers.evaluate(left):
            if stop_after is not None and len(found) >= stop_after:
                return found
            found += records
        halving.forget()
    return sorted(found, key=lambda record: record.position)


def content(records: Sequence[Record]) -> list[Any]:
    return [record.outside_timing() for record in records]


def singly(trials: Sequence[Trial] = TRIALS) -> list[list[Trial]]:
    return [[one] for one in trials]


def test_half_of_the_fits_stop_and_have_no_values(tmp_path: Path, trained: list[int]) -> None:
    records = generation(evaluator(tmp_path), singly())
    status = [{r.status for r in records if r.fit == fit} for fit in dict.fromkeys(
        record.fit for record in records)]  # fmt: skip
    assert status == [{"ok"}, {"pruned"}, {"ok"}, {"pruned"}]  # who hardly learns stops
    assert sum(trained) == 2 * 40 + 2 * 20
    for record in records:
        steps = 20 if record.status == "pruned" else 40
        assert record.timing["train_steps"] == steps
        assert bool(record.objectives) == (record.status == "ok")
        assert Record.from_json(record.to_json()) == record
    reasons = {record.reason for record in records if record.status == "pruned"}
    assert reasons == {"stopped after 20 of 40 steps, behind its generation"}
    assert not list((tmp_path / FOLDER).iterdir())


def test_what_is_trained_to_the_end_is_what_it_would_have_been(tmp_path: Path) -> None:
    with_rungs = generation(evaluator(tmp_path / "a"), singly())
    straight = [r for one in TRIALS for r in evaluator(tmp_path / "b").evaluate([one])]
    for record, other in zip(with_rungs, straight, strict=True):
        assert record.id == other.id
        if record.status == "ok":
            assert record.outside_timing() == other.outside_timing()
    ids = {record.fit for record in with_rungs if record.status == "ok"}
    for fit_id in ids:
        one, other = (evaluator(tmp_path / name).store.get(fit_id) for name in "ab")
        assert one is not None
        assert other is not None
        assert all(torch.equal(value, other.params[name]) for name, value in one.params.items())


def test_finished_fits_in_the_cache_change_no_decision_and_are_not_trained_again(
    tmp_path: Path, trained: list[int]
) -> None:
    first = generation(evaluator(tmp_path / "a"), singly())
    subject = evaluator(tmp_path / "b")
    for one in TRIALS:
        subject.evaluate([one])
    trained.clear()
    again = generation(subject, singly())
    assert content(again) == content(first)
    assert [r.timing["train_steps"] for r in again] == [r.timing["train_steps"] for r in first]
    assert sum(trained) == 4 * 20  # up to the rung alone


@pytest.mark.parametrize(
    ("packs", "kept", "cached"),
    [
        *((singly(), 0, True), (singly(), 5, True), (singly(), 7, False)),
        *(([TRIALS], 1, True), ([TRIALS], 5, False), ([TRIALS], 12, False)),
    ],
)
def test_a_generation_goes_on_from_any_record(
    tmp_path: Path, packs: list[list[Trial]], kept: int, cached: bool
) -> None:
    plan = Fidelity((20, 40), 0.5, 0.0, GOALS)
    fixed = {**evaluator(tmp_path).variables.fixed, "steps": 60}

    def subject(name: str) -> Evaluator:
        return evaluator(tmp_path / name, fixed=fixed)

    whole = generation(subject("whole"), packs, plan=plan)
    assert {record.timing["train_steps"] for record in whole} == {20, 40, 60}
    found = generation(subject("cut"), packs, plan=plan, stop_after=1)
    assert {record.status for record in found} == {"pruned"}
    if not cached:
        shutil.rmtree(tmp_path / "cut")
    again = generation(subject("cut"), packs, whole[:kept], plan)
    assert content(again) == content([r for r in whole if r.id in {one.id for one in again}])
    lacking = {record.id for record in whole[kept:]}
    assert lacking <= {record.id for record in again} | {record.id for record in whole[:kept]}


def test_what_was_trained_before_a_stop_is_not_trained_again(
    tmp_path: Path, trained: list[int]
) -> None:
    generation(evaluator(tmp_path), singly(), stop_after=0)
    assert sum(trained) == 4 * 20 + 20  # to the rung, and one of two fits to the end
    assert len(list((tmp_path / FOLDER).iterdir())) == 4
    trained.clear()
    generation(evaluator(tmp_path), singly())
    assert sum(trained) == 20


def test_what_is_damaged_is_trained_again(tmp_path: Path, trained: list[int]) -> None:
    whole = generation(evaluator(tmp_path / "whole"), singly())
    generation(evaluator(tmp_path / "cut"), singly(), stop_after=0)
    for path in (tmp_path / "cut" / FOLDER).iterdir():
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    shutil.copytree(tmp_path / "cut" / FOLDER, tmp_path / "other" / FOLDER)
    trained.clear()
    assert content(generation(evaluator(tmp_path / "other"), singly())) == content(whole)
    assert sum(trained) == 2 * 40 + 2 * 20


def test_the_order_in_which_packs_are_given_changes_nothing(tmp_path: Path) -> None:
    forward = generation(evaluator(tmp_path / "a"), singly())
    assert content(generation(evaluator(tmp_path / "b"), singly()[::-1])) == content(forward)


def test_a_fit_that_fails_at_a_rung_is_no_rival(tmp_path: Path) -> None:
    trials = [trial(0, rate=1e38), trial(1, rate=0.02), trial(2, rate=1e-4)]
    records = generation(evaluator(tmp_path), singly(trials))
    assert [r.status for r in records] == ["failed"] * 3 + ["ok"] * 3 + ["pruned"] * 3
    assert "not finite" in str(records[0].reason)
    packed = generation(evaluator(tmp_path / "packed"), [trials])
    assert [r.status for r in packed] == [r.status for r in records]
    again = generation(evaluator(tmp_path / "again"), [trials], packed[:4])
    assert [r.status for r in again] == [r.status for r in records]


def test_a_pack_that_does_not_fit_is_halved_on_its_way(tmp_path: Path) -> None:
    class Small:
        """A pool on whose memory three fits are one too many."""

        def __init__(self, subject: Evaluator) -> None:
            self.subject = subject

        def run(self, queue: Any, _: float | None) -> Iterator[tuple[Task, Any]]:
            while queue:
                task = queue.popleft()
                few = len(task.argument) <= 2
                work = task.job(self.subject, task.argument, Path()) if few else None
                yield task, work if few else Trouble("out of memory")

    subject = evaluator(tmp_path)
    workers = Workers(1, config(), Path("cache"), subject)
    workers._pool = Small(subject)  # type: ignore[assignment] # all that is asked of a pool
    halving = SuccessiveHalving(PLAN, workers)
    ((stopped, left),) = halving.through([TRIALS], {})
    assert sorted({record.position for record in stopped}) == [13, 14, 15, 19, 20, 21]
    found = [record for records in workers.evaluate(left) for record in records]
    assert {record.status for record in found} == {"ok"}
    assert workers.retried == 1


def test_who_has_ended_by_itself_is_not_stopped(tmp_path: Path) -> None:
    """Without a rate nothing improves, and patience ends the fits at their second look."""
    fixed = {
        **evaluator(tmp_path).variables.fixed,
        "steps": 200,
        "patience": 1,
        "weight_decay": 0.0,
    }
    trials = [trial(n, rate=0.0, accuracy=0.8 - 0.1 * n) for n in range(2)]
    plan = Fidelity((100,), 0.5, 0.0, GOALS)
    records = generation(evaluator(tmp_path, fixed=fixed), singly(trials), plan=plan)
    assert [record.timing["train_steps"] for record in records] == [40] * 6
    assert {record.status for record in records} == {"ok"}


def test_settings_are_those_of_the_sweeps_with_the_network_alone() -> None:
    found = panel(TRIALS, evaluator_space(), 5)
    assert len(found) == 3  # all trials have the same three
    assert [one["fusion"] for one in found] == [(1.0, 0.0)] * 3
    assert [one["mmr"] for one in found] == pytest.approx([0.15, 0.3, 0.0])
    assert len(panel(TRIALS, evaluator_space(), 2)) == 2


def evaluator_space() -> Any:
    from evaluator_world import SPACE

    return SPACE


def test_a_part_of_a_pack_keeps_its_way() -> None:
    climb = RungHistory(tuple(TRIALS)).up_to(20, ())
    half = climb[:2]
    assert isinstance(half, RungHistory)
    assert (list(half), half.way) == (TRIALS[:2], climb.way)
    assert list(climb.without({0, 3})) == TRIALS[1:3]
