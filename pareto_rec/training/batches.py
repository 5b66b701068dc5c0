"""Training examples of all steps, assembled ahead without a Python loop per user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Stage


@dataclass(frozen=True)
class Sequences:
    """Training rows of all users end to end, oldest first.

    Attributes:
        items: ``[rows]`` item indices.
        start: ``[rows]`` first row of the user that a row belongs to.
        end: ``[rows]`` one past the last row of that user.
        users: ``[rows]`` user indices; None where no loss will ask for people.
    """

    items: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    users: NDArray[np.int64] | None = None

    @cached_property
    def usable(self) -> NDArray[np.int64]:
        """Rows that have a predecessor."""
        rows = np.arange(len(self.items))
        return rows[rows > self.start]

    @cached_property
    def weight(self) -> NDArray[np.float64]:
        """Sum of the weights of the usable rows up to each: ``1 / sqrt(rows of its user)``."""
        lengths = (self.end - self.start)[self.usable]
        return np.cumsum(1.0 / np.sqrt(lengths))

    @classmethod
    def of(cls, train: Interactions) -> Sequences:
        """Return sequences of rows sorted by user and time."""
        edges = np.flatnonzero(np.diff(train.user, prepend=-1))
        lengths = np.diff(np.append(edges, len(train)))
        start = np.repeat(edges, lengths)
        end = start + np.repeat(lengths, lengths)
        return cls(train.item, start, end, train.user)


@dataclass(frozen=True)
class People:
    """What losses may know about users.

    Attributes:
        groups: Attribute -> 0/1 membership ``[users, groups]``; all 0 where it is unknown.
        tastes: ``[users, C]`` category shares of the user's training rows, each item's weight
            spread evenly over its categories; all 0 where none has a category.
    """

    groups: Mapping[str, NDArray[np.float32]]
    tastes: NDArray[np.float32]

    @classmethod
    def of(cls, stage: Stage) -> People:
        """Return people of a stage, from its training rows alone."""
        groups = {}
        for name, values in stage.users.attributes.items():
            known = np.array(sorted(set(values) - {""}), dtype=str)
            groups[name] = (np.array(values, dtype=str)[:, None] == known).astype(np.float32)
        categories = np.asarray(stage.items.categories, dtype=np.float64)
        shares = categories / np.maximum(categories.sum(axis=1, keepdims=True), 1e-12)
        rows = stage.train
        ones = np.ones(len(rows))
        met = sparse.csr_array((ones, (rows.user, rows.item)), shape=stage.shape)
        tastes = np.asarray(met @ shares)
        total = np.maximum(tastes.sum(axis=1, keepdims=True), 1e-12)
        return cls(groups, (tastes / total).astype(np.float32))


@dataclass(frozen=True)
class Batch:
    """Examples of one candidate for ``T`` steps; -1 pads.

    Attributes:
        histories: ``[T, B, L]`` right-aligned, oldest first.
        at: ``[T, B, Q]`` positions in the history after which is predicted.
        targets: ``[T, B, Q, H]`` the items that follow, -1 where there are fewer.
        rows: ``[T, B, Q, H]`` training rows of the targets; any row where there is no target.
    """

    histories: NDArray[np.int64]
    at: NDArray[np.int64]
    targets: NDArray[np.int64]
    rows: NDArray[np.int64]


def draw(
    sequences: Sequences,
    rng: np.random.Generator,
    *,
    steps: int,
    batch: int,
    history: int,
    positions: int,
    horizon: int,
) -> Batch:
    """Draw examples: a user-balanced row whose predecessors are the history.

    A row with a predecessor is drawn with probability proportional to ``1 / sqrt(rows of its
    user)``, so that a user counts for about the square root of the sequence's length; the row and
    its successors are the targets, at most `horizon` of them. With several positions the others are
    drawn uniformly from the history window.

    Args:
        sequences: Training rows.
        rng: Source of the draws.
        steps: Number of steps T.
        batch: Examples per step B.
        history: Length of the history L.
        positions: Predicted positions per example Q.
        horizon: Targets per place H.

    Raises:
        BadRequestError: If no user has two rows.
    """
    usable, weight = sequences.usable, sequences.weight
    if not len(usable):
        raise BadRequestError(
            "no user has two training rows, so there is no history to learn from; use more data "
            "or hold out less of it"
        )
    chosen = np.searchsorted(weight, rng.random((steps, batch)) * weight[-1])
    target = usable[np.minimum(chosen, len(usable) - 1)]
    back = np.arange(history, 0, -1)
    source = target[..., None] - back
    histories = np.where(
        source >= sequences.start[target][..., None], sequences.items[np.maximum(source, 0)], -1
    )
    available = np.minimum(target - sequences.start[target], history)
    offset = (rng.random((steps, batch, positions)) * available[..., None]).astype(np.int64)
    offset[..., 0] = 0
    ahead = (target[..., None] - offset)[..., None] + np.arange(horizon)
    inside = ahead < sequences.end[target][..., None, None]
    ahead = np.minimum(ahead, len(sequences.items) - 1)
    targets = np.where(inside, sequences.items[ahead], -1)
    return Batch(histories, history - 1 - offset, targets, ahead)


def last_items(stage: Stage, length: int) -> NDArray[np.int64]:
    """Return the last items of every user's history ``[users, length]``, right-aligned, -1 pads."""
    indptr = stage.history_indptr
    source = indptr[1:, None] - np.arange(length, 0, -1)
    inside = source >= indptr[:-1, None]
    if not len(stage.history):
        return np.full(source.shape, -1, dtype=np.int64)
    return np.where(inside, stage.history.item[np.maximum(source, 0)], -1)
