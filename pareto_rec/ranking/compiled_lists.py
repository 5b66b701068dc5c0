"""Lists of many settings by compiled loops, on a processor in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pareto_rec.kernels import fused_lists as loops
from pareto_rec.kernels.compiled import is_cpu_float32
from pareto_rec.ranking.fusion import Part, distinct, parts
from pareto_rec.ranking.scorers import Scorers, ServingParams
from pareto_rec.ranking.ties import Ties, as_they_stand

CHUNK_ELEMENTS = 2_000_000  # most scores, and most weights, that are copied at once


def are_compiled(scorers: Scorers) -> bool:
    """Return whether lists of these scorers can be made here."""
    tensors = [scorers.popularity, scorers.similarity.table, *scorers.boosts.values()]
    tensors += scorers.experts.values()
    for network in scorers.networks.values():
        tensors += [network.relevance, network.products, *network.tasks.values()]
    return is_cpu_float32(*tensors)


def write_lists(
    scorers: Scorers,
    settings: Sequence[ServingParams],
    lists: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Write the lists of every setting and their fused scores ``[S, users, k]``.

    What a list holds depends on no other setting and no other user, to the last bit. Places that no
    item is left for stay as they are.
    """
    size, k = scorers.seen.shape[1], lists.shape[2]
    ties = scorers.ties or as_they_stand(size, scorers.seen.device)
    items = _items(scorers, ties)
    # many settings of a sweep differ in mmr and depth alone: side by side they share fused scores
    _, which = distinct(settings)
    order = sorted(range(len(settings)), key=which.__getitem__)
    ordered = [settings[place] for place in order]
    repeats = [False, *(which[a] == which[b] for a, b in pairwise(order))]
    made = loops.Settings(
        np.zeros((1, len(order), 1), dtype=np.float32),
        np.array(repeats, dtype=np.bool_),
        np.array([_pool(setting, size, k) for setting in ordered], dtype=np.int64),
        np.array([setting.mmr for setting in ordered], dtype=np.float32),
        np.array(order, dtype=np.int64),
    )
    seen = scorers.seen.numpy()
    for rows in _chunks(seen.shape, len(settings), scorers):
        used, weights = _used(parts(scorers, ordered, rows), len(order))
        weighed = made._replace(weights=weights)
        loops.fused_lists(_scores(used, seen[rows]), weighed, items, lists, scores, rows.start)


def _pool(setting: ServingParams, size: int, k: int) -> int:
    """Return how many of the top may be chosen: without re-ranking, those that are shown."""
    return min(size, max(k, setting.depth) if setting.mmr > 0 else k)


def _items(scorers: Scorers, ties: Ties) -> loops.Items:
    kinds, table = scorers.similarity.kind, scorers.similarity.table
    return loops.Items(ties.order.numpy(), ties.ranks.numpy(), kinds.numpy(), table.numpy())


def _scores(used: Sequence[NDArray[np.float32]], seen: NDArray[np.bool_]) -> loops.Scores:
    """Copy side by side what the loops read of each user; what all users share is not repeated."""
    users, size = seen.shape
    own = sum(len(one) == users for one in used)
    scores, shared = np.empty((users, own, size), np.float32), used[own:]
    for place, one in enumerate(used[:own]):
        scores[:, place] = one
    together = np.concatenate(shared) if shared else np.empty((0, size), np.float32)
    return loops.Scores(scores, together, np.flatnonzero(seen) % size, np.cumsum(seen.sum(axis=1)))


def _used(
    summed: Sequence[Part], count: int
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Return scores and weights ``[users, S, P]`` of the parts that any setting weighs.

    The weights are ``[1, S, P]`` where they are those of all users.
    """
    users = max(len(part.weights) for part in summed)
    weights = np.empty((users, count, len(summed)), dtype=np.float32)
    for place, part in enumerate(summed):
        weights[:, :, place] = part.weights.numpy()
    any_weighs = np.asarray(weights.any(axis=(0, 1)))
    used = [part.scores.numpy() for part, weighs in zip(summed, any_weighs, strict=True) if weighs]
    return used, weights if any_weighs.all() else np.ascontiguousarray(weights[:, :, any_weighs])


def _chunks(shape: tuple[int, ...], settings: int, scorers: Scorers) -> Iterator[slice]:
    users, size = shape
    networks = scorers.networks.values()
    most = len(scorers.experts) + sum(1 + len(network.tasks) for network in networks)
    most += 1 + len(scorers.boosts)
    step = max(1, CHUNK_ELEMENTS // (most * max(size, settings)))
    for begin in range(0, users, step):
        yield slice(begin, min(begin + step, users))
