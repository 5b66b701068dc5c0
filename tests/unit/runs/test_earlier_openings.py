"""What was opened before, and which changes after an opening void a confirmation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pareto_rec.runs.earlier_openings import earlier_openings, overlap
from pareto_rec.runs.openings import Opening

AIM = {"reference": 0.1, "at_least": None, "at_most": None}
FIRST = Opening(
    at="2026-01-01T10:00:00+00:00",
    command="confirm",
    experiment="films",
    test="t",
    data="d",
    sketch=("00", "01", "02", "03"),
    split={"kind": "per_user", "validation": 0.1, "test": 0.1, "seed": 0},
    objectives={"ndcg@10": AIM, "ild@10": {**AIM, "reference": 0.6}},
    run="films/first",
)
LATER = replace(FIRST, at="2026-01-02T10:00:00+00:00", run="films/second")


def changed_aim(name: str, **values: float | None) -> dict[str, dict[str, Any]]:
    return {**FIRST.objectives, name: {**FIRST.objectives[name], **values}}


def test_a_second_run_on_the_same_data_sees_the_first_opening() -> None:
    other = replace(
        FIRST, experiment="novel films", objectives={"epc@10": AIM}, at="2026-01-01T12:00:00+01:00"
    )
    found = earlier_openings(LATER, [LATER, FIRST, other])
    assert found.same == (FIRST, other) or found.same == (other, FIRST)
    assert not found.void
    assert found.says == (
        "Test data had been opened 2 times before, by films (1), novel films (1), on 2026-01-01."
    ) or found.says.startswith("Test data had been opened 2 times before, by novel films (1)")
    assert found.to_json()["times"] == 2


def test_what_comes_later_or_is_of_other_data_does_not_count() -> None:
    elsewhere = replace(FIRST, test="u", data="e", sketch=("f0", "f1", "f2", "f3"))
    found = earlier_openings(FIRST, [LATER, elsewhere, FIRST])
    assert (found.same, found.other_split, found.says, found.void) == ((), (), "", "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"objectives": changed_aim("ndcg@10", reference=0.05)},
            "this test data on 2026-01-01, the reference of ndcg@10 was changed from 0.1 to 0.05.",
        ),
        (
            {"objectives": changed_aim("ndcg@10", at_least=0.2)},
            "the lower bound of ndcg@10 was changed from none to 0.2.",
        ),
        (
            {"objectives": {"ndcg@10": AIM}},
            "the objectives were changed from ndcg@10 and ild@10 to ndcg@10.",
        ),
        (
            {"split": {**FIRST.split, "test": 0.2}, "test": "u", "sketch": ("f0", "f1")},
            "this data on 2026-01-01, rows were held out in another way (test = 0.2 instead of ",
        ),
        (
            {"split": {**FIRST.split, "sample": {"users": 50, "items": 0}}, "test": "u"},
            "(a sample of 50 users instead of all)",
        ),
        (
            {"test": "u", "sketch": ("f0", "f1")},
            "other rows were held out by the same settings.",
        ),
        (  # another name is no way out
            {"experiment": "renamed", "objectives": changed_aim("ild@10", reference=0.5)},
            "after films had opened this test data on 2026-01-01, the reference of ild@10 was ",
        ),
        (  # nor are some rows less
            {
                "data": "e",
                "test": "u",
                "sketch": ("00", "01", "02", "04"),
                "objectives": changed_aim("ild@10", reference=0.5),
            },
            "the reference of ild@10 was changed from 0.6 to 0.5.",
        ),
    ],
)
def test_a_change_after_an_opening_voids(change: dict[str, Any], reason: str) -> None:
    found = earlier_openings(replace(LATER, **change), [FIRST])
    assert len(found.same) + len(found.other_split) == 1
    assert found.void.startswith("Void: after films had opened ")
    assert reason in found.void


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"config": "other hyperparameters", "seeds": 5, "code": "other"},
        {
            "experiment": "another question",
            "objectives": {"ndcg@10": {**AIM, "at_least": 0.2}, "epc@10": AIM},
        },
        {"split": {**FIRST.split, "a key of a newer version": 1}},
    ],
)
def test_other_changes_do_not_void(change: dict[str, Any]) -> None:
    assert not earlier_openings(replace(LATER, **change), [FIRST]).void


def test_all_data_after_a_sample_voids_nothing() -> None:
    sample = {**FIRST.split, "sample": {"users": 50, "items": 0}}
    tried = replace(FIRST, split=sample, test="u", sketch=("f0", "f1"))
    found = earlier_openings(LATER, [tried])
    assert not found.void
    assert found.says == (
        "The same data, held out in another way, had been opened once before, by films, on "
        "2026-01-01."
    )


def test_what_was_declared_first_holds() -> None:
    """To go back to the first references is no change; to keep to the second ones is."""
    second = replace(LATER, objectives=changed_aim("ndcg@10", reference=0.05))
    third = replace(LATER, at="2026-01-03T10:00:00+00:00")
    assert not earlier_openings(third, [FIRST, second]).void
    kept = replace(third, objectives=second.objectives)
    assert "changed from 0.1 to 0.05" in earlier_openings(kept, [FIRST, second]).void


def test_overlap_is_estimated_from_the_smallest_keys() -> None:
    assert overlap(("1", "2"), ("1", "2")) == 1.0
    assert overlap(("1", "2", "3", "4"), ("1", "2", "5", "6")) == 0.5  # of 1, 2, 3, 4
    assert overlap((), ()) == 0.0
