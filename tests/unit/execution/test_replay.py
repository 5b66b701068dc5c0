"""A search that is answered out of its own records goes the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.execution import search as search_module
from pareto_rec.execution.search import together
from pareto_rec.execution.stored_records import StoredRecords, asked_for
from pareto_rec.runs.record import Record
from pareto_rec.search import Goal, Result, Searcher, Settings, Trial, run_search
from pareto_rec.search.space import Candidate, Real, SearchSpace

pytestmark = pytest.mark.usefixtures("single_thread")

STORE = Path("run/records.jsonl")
SPACE = SearchSpace(train={"x": Real(0.0, 1.0)}, serve={"y": Real(0.0, 1.0)})
GOALS = (Goal("up", True, 0.0), Goal("down", False, 2.0))


def searcher(seed: int = 4) -> Searcher:
    return Searcher(SPACE, GOALS, Settings(population=4, sweep=3, corners=False), seed=seed)


def fit_id(trial: Trial) -> str:
    return f"fit {trial.train_id}"


def recorded(trials: Sequence[Trial]) -> list[Record]:
    """Two objectives that pull apart."""
    done = []
    for record in asked_for(trials, fit_id, 7):
        x, y = record.train["x"], record.serve["y"]
        assert isinstance(x, float)
        assert isinstance(y, float)
        values = {"up": x * (1 - y), "down": x * x + 0.5 * (1 - y)}
        done.append(Record.from_json(replace(record, objectives=values).to_json()))
    return done


def search(stored: Sequence[Record], generations: int = 4) -> tuple[list[Record], Searcher, int]:
    """Records in the order of arrival, the searcher, and how many were evaluated."""
    replay, one, records = StoredRecords(stored, STORE), searcher(), list(stored)
    evaluated = 0

    def evaluate(trials: Sequence[Trial]) -> Iterator[tuple[str, Result]]:
        nonlocal evaluated
        known = replay.answer(asked_for(trials, fit_id, 7))
        yield from ((key, record.objectives) for key, record in known.items())
        for record in recorded(trials):
            if record.id not in known:
                evaluated += 1
                records.append(record)
                yield record.id, record.objectives

    run_search(one, evaluate, generations)
    return records, one, evaluated


def test_from_any_record_on_a_search_ends_the_same() -> None:
    whole, one, evaluated = search([])
    assert evaluated == len(whole) == 4 * 4 * 3
    for size in range(len(whole) + 1):
        records, again, rest = search(whole[:size])
        assert rest == len(whole) - size
        assert records == whole
        assert again.history == one.history
        assert again.front() == one.front()


def test_more_generations_begin_where_the_run_ended() -> None:
    short, _, _ = search([], 2)
    assert search(short)[0] == search([])[0]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"},
        {"fit": "other"},
        {"seed": 8},
        {"position": 99},
        {"train": {"x": 0.5}},
        {"serve": {"y": 0.5}},
        {"origin": "sweep"},
    ],
)
def test_a_record_that_is_not_asked_for_is_refused(change: dict[str, object]) -> None:
    whole, _, _ = search([])
    wrong = [*whole[:12], replace(whole[12], **change), *whole[13:]]  # type: ignore[arg-type]
    with pytest.raises(BadRequestError, match=r"records\.jsonl, line 13: the search does not ask"):
        search(wrong)


def test_an_objective_that_was_changed_leads_elsewhere_and_is_noticed() -> None:
    """The line that first no longer fits is named; the change itself cannot be seen."""
    whole, _, _ = search([])
    first = whole[0]
    wrong = [replace(first, objectives={"up": 9.0, "down": 0.0}), *whole[1:]]
    with pytest.raises(BadRequestError, match=r"line \d+: the search does not ask"):
        search(wrong)


def test_records_are_scored_together_with_those_of_their_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_module, "AT_ONCE", 4)
    names = ["b", "a", "a+b", "a+c", "b+d", "e+f", "b", "a+b+c+d+e", "experts", "a+b+c+d+e"]
    trial = Trial(0, 0, 0, (Candidate({"x": 0.5}, {"y": 0.5}),))
    [any_record] = asked_for([trial], fit_id, 7)
    records = [replace(any_record, id=str(number), fit=fit) for number, fit in enumerate(names)]
    groups = [[(one.id, one.fit) for one in group] for group in together(records)]
    assert [sorted({fit for _, fit in group}) for group in groups] == [
        ["experts"],
        ["a"],
        ["a+b", "a+c", "b", "b+d"],
        ["e+f"],
        ["a+b+c+d+e"],
    ]
    assert sorted(key for group in groups for key, _ in group) == sorted(map(str, range(10)))
