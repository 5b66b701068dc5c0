"""Parts of a table that is split by entity: training, validation and test rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.seeds import child_seed

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """Which rows belong where.

    Attributes:
        train: Rows to learn from.
        validation: Rows that a search measures on.
        test: Rows that ``confirm`` alone opens.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def hashed_order(names: Sequence[str], seed: int) -> list[int]:
    """Return places of names in the order of a seeded hash of each, whatever else there is."""
    keys = [hashlib.sha256(f"{seed} {name}".encode()).digest() for name in names]
    return sorted(range(len(names)), key=keys.__getitem__)


def by_entity(
    entities: Sequence[str], *, validation: float, test: float, seed: int, what: str
) -> Parts:
    """Split rows so that all rows of an entity (a query, a video, a product) are in one part.

    Entities are drawn in the order of a seeded hash of their names, until a part has its share of
    the rows; neither the order of the files nor what else is in them has a say.

    Args:
        entities: Entity of each row.
        validation: Share of the rows for validation.
        test: Share for the test.
        seed: Of the draw.
        what: The system, for messages.

    Raises:
        BadRequestError: If both shares leave nothing to learn from, or a part gets no entity.
    """
    if not validation + test < 1:
        raise BadRequestError(
            f"{what}: split.validation + split.test must be below 1, not {validation + test:g}"
        )
    names, code = np.unique(np.array(entities, dtype=object).astype(str), return_inverse=True)
    rows = np.bincount(code, minlength=len(names))
    order = hashed_order(names.tolist(), child_seed(seed, "split by entity"))
    before = np.cumsum(rows[order]) - rows[order]
    share = (before + rows[order] / 2) / max(len(code), 1)
    part = np.zeros(len(names), dtype=np.int64)  # of each entity: 0 train, 1 validation, 2 test
    part[np.array(order)] = np.where(share < test, 2, np.where(share < test + validation, 1, 0))
    where = [np.flatnonzero(part[code] == number) for number in range(3)]
    for name, found in zip(PARTS, where, strict=True):
        if not len(found):
            raise BadRequestError(
                f"{what}: the {name} part is empty: {len(names):,} entities are too few for shares "
                f"of {validation:g} and {test:g}; change the shares, or split by another column"
            )
    return Parts(*where)


def summary(parts: Parts, entities: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """Count the rows and entities of each part."""
    named = np.array(entities, dtype=object)
    return {
        name: {"rows": len(rows), "entities": len(set(named[rows].tolist()))}
        for name in PARTS
        for rows in (getattr(parts, name),)
    }
