"""Examples for domain adaptation: texts with masked tokens, pairs of items of one history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Masked:
    """Tokens of a batch with some of them hidden.

    Attributes:
        tokens: What the encoder reads ``[B, L]``.
        chosen: Which of them are to be told ``[B, L]``.
        truth: What stood there ``[chosen]``, row by row.
    """

    tokens: Ids
    chosen: NDArray[np.bool_]
    truth: Ids


def masked(
    tokens: Ids,
    fixed: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    share: float,
    mask: int,
    vocabulary: int,
) -> Masked:
    """Choose tokens to tell and hide them: 80 % masked, 10 % replaced, 10 % left as they are.

    Source: Devlin et al., BERT, NAACL 2019, section 3.1, task 1.

    Args:
        tokens: Token ids ``[B, L]``; not altered.
        fixed: Tokens that are never chosen: special ones and padding ``[B, L]``.
        rng: Source of the draws.
        share: Of the other tokens, how many are chosen; at least one of each text that has any.
        mask: Id of the mask token.
        vocabulary: Number of token ids.
    """
    draws = np.where(fixed, 2.0, rng.random(tokens.shape))
    least = draws.min(axis=1, keepdims=True)
    chosen = (draws < share) | ((draws == least) & (least < 2.0))
    way = rng.random(tokens.shape)
    other = rng.integers(0, vocabulary, tokens.shape)
    shown = np.where(chosen & (way < 0.8), mask, tokens)
    shown = np.where(chosen & (way >= 0.9), other, shown)
    return Masked(shown, chosen, tokens[chosen])


@dataclass(frozen=True)
class Pairs:
    """Draws pairs of items that one user met shortly after each other, from training rows alone.

    Attributes:
        item: Items of all training rows, by user, then time ``[rows]``.
        start: First row of the user of each row ``[rows]``.
        weight: Cumulated weight of the rows that have a predecessor ``[usable]``.
        usable: Those rows ``[usable]``.
        share: Share of each item in the rows ``[items]``.
    """

    item: Ids
    start: Ids
    weight: NDArray[np.float64]
    usable: Ids
    share: NDArray[np.float64]

    @classmethod
    def of(cls, train: Interactions, n_items: int) -> Pairs:
        """Return pairs of training rows sorted by user, then time.

        A user's rows are drawn with weights ``1 / sqrt(rows)``, so that a user counts for about the
        square root of the history's length.

        Raises:
            BadRequestError: If no user has two rows.
        """
        rows = np.arange(len(train))
        edges = np.flatnonzero(np.diff(train.user, prepend=-1))
        lengths = np.diff(np.append(edges, len(train)))
        start = np.repeat(edges, lengths)
        usable = rows[rows > start]
        if not len(usable):
            raise BadRequestError(
                "no user has two training rows, so that no two items belong together; use more "
                "data, or set adapt.pairs = 0"
            )
        weight = np.cumsum(1.0 / np.sqrt(np.repeat(lengths, lengths)[usable]))
        counts = np.bincount(train.item, minlength=n_items).astype(np.float64)
        return cls(train.item, start, weight, usable, counts / counts.sum())

    def draw(self, rng: np.random.Generator, count: int, window: int) -> tuple[Ids, Ids]:
        """Return items ``[count]`` and others ``[count]`` at most `window` rows before them.

        A pair of twice the same item (a repeated row) may come up.
        """
        places = np.searchsorted(self.weight, rng.random(count) * self.weight[-1])
        later = self.usable[np.minimum(places, len(self.usable) - 1)]
        reach = np.minimum(later - self.start[later], window)
        back = 1 + np.floor(rng.random(count) * reach).astype(np.int64)
        return self.item[later], self.item[later - back]
