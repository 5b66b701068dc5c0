"""Splits by entity: nothing of an entity in two parts, whatever the order of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pareto_rec.core.errors import BadRequestError
from pareto_rec.systems.parts import PARTS, by_entity, summary

LISTS = st.lists(st.sampled_from([f"e{n}" for n in range(40)]), min_size=60, max_size=300)


def split(entities: list[str], seed: int = 0, share: float = 0.2) -> dict[str, set[str]]:
    parts = by_entity(entities, validation=share, test=share, seed=seed, what="system x")
    return {name: {entities[n] for n in getattr(parts, name).tolist()} for name in PARTS}


@given(LISTS, st.integers(0, 5))
def test_every_entity_is_in_one_part_and_no_row_is_lost(entities: list[str], seed: int) -> None:
    try:
        found = split(entities, seed)
    except BadRequestError:
        return  # too few of them
    assert sum(map(len, found.values())) == len(set(entities))
    parts = by_entity(entities, validation=0.2, test=0.2, seed=seed, what="system x")
    together = np.concatenate([getattr(parts, name) for name in PARTS])
    assert sorted(together.tolist()) == list(range(len(entities)))


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_has_no_say(entities: list[str], random: object) -> None:
    shuffled = list(entities)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        assert split(entities) == split(shuffled)
    except BadRequestError:
        return


def test_shares_are_shares_of_the_rows() -> None:
    entities = [f"e{n}" for n in range(2000)]
    parts = by_entity(entities, validation=0.1, test=0.3, seed=1, what="system x")
    assert abs(len(parts.validation) - 200) <= 1
    assert abs(len(parts.test) - 600) <= 1
    assert summary(parts, entities)["test"] == {
        "rows": len(parts.test),
        "entities": len(parts.test),
    }
    assert split(entities, 1) != split(entities, 2)


@pytest.mark.parametrize(
    ("entities", "share", "message"),
    [
        (["a"] * 9 + ["b"], 0.2, "part is empty: 2 entities are too few"),
        (["a", "b", "c"], 0.5, "split.validation + split.test must be below 1, not 1"),
    ],
)
def test_what_cannot_be_split_is_one_line(entities: list[str], share: float, message: str) -> None:
    with pytest.raises(BadRequestError, match="system x: ") as caught:
        split(entities, share=share)
    assert message in str(caught.value)
