"""Scoring head of a fit: item vectors, user states, and its towers' predictions for items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.models.base import Params, Shape, item_table, tower
from pareto_rec.models.scoring import log_natural, natural, relevance_states, user_states
from pareto_rec.tasks import RELEVANCE, key_of

STATE_USERS = 4096  # users whose histories are read at a time
PAIRS = 100_000  # pairs of a user and an item that are predicted at a time

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NetworkScores:
    """Scores of a fit for every item and some users, ``[users, N]`` each.

    Attributes:
        relevance: Logits, temperature applied; zeros for a fit on tasks of which no loss ranks.
        tasks: Requested task -> log of its prediction.
    """

    relevance: Tensor
    tasks: Mapping[str, Tensor]


class ScoringHead:
    """Scores of one fit; all that does not depend on users is computed once.

    Attributes:
        params: Parameters with a leading dimension of one.
        shape: Their shape.
        temperature: Of the relevance ``[1]``.
        table: Item vectors ``[1, N, D]``.
    """

    def __init__(
        self,
        params: Params,
        shape: Shape,
        features: Tensor,
        *,
        temperature: float = 1.0,
        ranks: bool = True,
    ) -> None:
        """Compute the item vectors.

        Args:
            params: Parameters of one candidate, no leading dimension.
            shape: Their shape.
            features: What the model reads of the items ``[N, F]``; scores are computed where it is.
            temperature: Of the softmax.
            ranks: Whether the relevance was trained; if not, tasks alone make the ranking.
        """
        device = features.device
        self.params = {name: part.unsqueeze(0).to(device) for name, part in params.items()}
        self.shape, self.ranks = shape, ranks
        self.temperature = torch.tensor([temperature], device=device)
        with torch.no_grad():
            self.table = item_table(self.params, features, None)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self.table.shape[1]

    def rows(self, histories: Ints, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the item vectors that histories name, and the histories as indices into them.

        Only these rows enter the user encoder, not the whole catalogue.

        Args:
            histories: Items ``[users, L]``, right-aligned, -1 where there is none.
            more: Features ``[M, F]`` of the items beyond the end of the catalogue.

        Returns:
            Vectors ``[1, R, D]``, one row at least, and indices ``[1, users, L]``.
        """
        items, indices = _distinct(histories.ravel())
        start, table = int(len(items) > 0 and items[0] < 0), self.table
        if more is not None:
            read = more.to(table.device) @ self.params["item.project"][0]
            table = torch.cat([table, read.unsqueeze(0)], 1)
        rows = table.index_select(1, torch.from_numpy(items[start:]).to(table.device))
        if not rows.shape[1]:  # all histories are empty
            rows = table.new_zeros(1, 1, table.shape[2])
        positions = torch.from_numpy(indices.reshape(1, *histories.shape) - start).to(table.device)
        return rows, positions

    @torch.no_grad()
    def states(self, histories: Ints, more: Tensor | None = None) -> Tensor:
        """Compute states ``[1, users, D]`` after complete histories, arguments as in `rows`."""
        parts = []
        for begin in range(0, max(1, len(histories)), STATE_USERS):
            rows, positions = self.rows(histories[begin : begin + STATE_USERS], more)
            last = torch.full((*positions.shape[:2], 1), positions.shape[2] - 1, device=rows.device)
            parts.append(user_states(self.params, self.shape, rows, positions, last))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def scaled(self, key: str, states: Tensor) -> Tensor:
        """Compute the factors of item vectors for a tower's logits ``[1, users, D]``."""
        if key == RELEVANCE:
            return relevance_states(self.params, states, self.temperature)
        wanted: Tensor = tower(self.params, key, states) * states.shape[-1] ** -0.5
        return wanted

    @torch.no_grad()
    def logits(self, keys: Sequence[str], states: Tensor) -> dict[str, Tensor]:
        """Compute logits ``[users, N]`` of some towers by one product with the item vectors."""
        scaled = torch.cat([self.scaled(key, states) for key in keys], 1)
        products = torch.bmm(scaled, self.table.transpose(1, 2)).view(
            len(keys), states.shape[1], -1
        )
        bias = [self.params[f"{key}.item_bias"] for key in keys]
        return {key: product + own for key, product, own in zip(keys, products, bias, strict=True)}

    def scores(self, states: Tensor, tasks: Sequence[str] | None = None) -> NetworkScores:
        """Compute the scores that a ranking is made from.

        Args:
            states: User states ``[1, users, D]``.
            tasks: Names of the tasks that are wanted; None: all of them.
        """
        names = self.shape.tasks if tasks is None else tasks
        keys = [RELEVANCE, *map(key_of, names)]
        return network_scores(self.params, self.logits(keys, states), names, ranks=self.ranks)

    def predicted(self, key: str, logits: Tensor) -> Tensor:
        """Convert a task's logits ``[...]`` to predictions in the unit of its signal."""
        return natural(self.params, key, logits.unsqueeze(0))[0]

    @torch.no_grad()
    def pairs(self, key: str, states: Tensor, users: Ints, items: Ints) -> Floats:
        """Predict a task for pairs of a user and an item ``[pairs]``.

        Args:
            key: The task's tower.
            states: States ``[1, users, D]`` that `users` are rows of.
            users: ``[pairs]``.
            items: ``[pairs]``.
        """
        scaled, bias = self.scaled(key, states)[0], self.params[f"{key}.item_bias"][0]
        values = np.empty(len(users), dtype=np.float32)
        for begin in range(0, len(users), PAIRS):
            part = slice(begin, begin + PAIRS)
            own, item = (torch.from_numpy(ids[part]).to(bias.device) for ids in (users, items))
            logits = (scaled[own] * self.table[0, item]).sum(-1) + bias[item]
            values[part] = self.predicted(key, logits).cpu().numpy()
        return values


def network_scores(
    params: Params, logits: Mapping[str, Tensor], tasks: Sequence[str], *, ranks: bool
) -> NetworkScores:
    """Convert logits to scores.

    Args:
        params: Parameters of a pack of one; only the scales of its tasks are read.
        logits: Tower -> logits ``[users, N]``, of relevance and of the tasks.
        tasks: Names of the tasks.
        ranks: Whether the relevance was trained.
    """
    relevance = logits[RELEVANCE] if ranks else torch.zeros_like(logits[RELEVANCE])
    keys = {name: key_of(name) for name in tasks}
    factors = {n: log_natural(params, key, logits[key].unsqueeze(0))[0] for n, key in keys.items()}
    return NetworkScores(relevance, factors)


def right_aligned(histories: Sequence[Ints], length: int) -> Ints:
    """Return the last `length` items of histories ``[users, length]``, -1 where there is none."""
    padded = np.full((len(histories), length), -1, dtype=np.int64)
    for row, items in enumerate(histories):
        last = items[-length:]
        padded[row, length - len(last) :] = last
    return padded


def _distinct(values: Ints) -> tuple[Ints, Ints]:
    """Return sorted distinct values and the index of each value among them: a lean `np.unique`."""
    order = values.argsort()
    ordered = values[order]
    new = np.ones(len(values), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    positions = np.empty_like(order)
    positions[order] = np.cumsum(new) - 1
    return ordered[new], positions
