"""Serving policy: fused scores -> popularity penalty -> MMR within a depth -> top k.

Everything is vectorised over users and over serving settings, in chunks of users so that memory
stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.ranking.mmr import rerank
from pareto_rec.ranking.scorers import BlockwiseScorers, Scorers, ServingParams
from pareto_rec.ranking.ties import HIDDEN, as_they_stand, largest
from pareto_rec.tasks import RELEVANCE

CHUNK_ELEMENTS = 4_000_000  # most scores held at once while ranking
PART_ELEMENTS = 16_000_000  # most scores of one scorer that a part of the users has


def _check(scorers: Scorers, settings: Sequence[ServingParams]) -> None:
    known = [*scorers.experts, *scorers.networks]
    for setting in settings:
        for name in setting.fusion:
            if name not in known and setting.fusion[name] > 0:
                raise unknown("scorer in the fusion", name, known)
        if not sum(setting.fusion.values()) > 0:
            raise BadRequestError("fusion weights must not all be 0; give one scorer a weight")


def recommend(
    scorers: Scorers | BlockwiseScorers, settings: Sequence[ServingParams], *, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return top-k lists of every setting.

    Args:
        scorers: What is fused.
        settings: Serving variables, S of them.
        k: Length of the lists.

    Returns:
        Item indices and fused scores (popularity penalty applied), each ``[S, users, k]``, best
        first; -1 (and a score of `HIDDEN`) where a user had fewer than k unseen items.

    Raises:
        BadRequestError: If a fusion names a scorer that is not there, or has no weight above 0.
    """
    if isinstance(scorers, BlockwiseScorers):
        blocks = [_recommend(scorers.take(rows), settings, k) for rows in parts_of(scorers.shape)]
        lists, scores = zip(*blocks, strict=True)
        return np.concatenate(lists, axis=1), np.concatenate(scores, axis=1)
    return _recommend(scorers, settings, k)


def parts_of(shape: tuple[int, int]) -> list[slice]:
    """Cut rows of ``shape = (users, items)`` into parts of `PART_ELEMENTS`, one at least."""
    step = max(1, PART_ELEMENTS // shape[1])
    return [slice(begin, min(begin + step, shape[0])) for begin in range(0, max(1, shape[0]), step)]


def _recommend(
    scorers: Scorers, settings: Sequence[ServingParams], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    _check(scorers, settings)
    users, n_items = scorers.seen.shape
    depths = [min(n_items, max(k, setting.depth)) for setting in settings]
    # many settings of a sweep differ in mmr and depth alone: they share fused scores and the top
    fused, which = _distinct(settings)
    groups = _by_depth(settings, depths, k)
    length, ties = min(k, n_items), scorers.ties or as_they_stand(n_items, scorers.seen.device)
    lists = np.full((len(settings), users, k), -1, dtype=np.int64)
    scores = np.full(lists.shape, HIDDEN, dtype=np.float32)
    # the fused scores of a chunk are the largest array: users x settings x items
    step = max(1, CHUNK_ELEMENTS // (n_items * len(fused)))
    for begin in range(0, users, step):
        rows = slice(begin, begin + step)
        top, items = largest(_fuse(scorers, fused, rows), max(depths), ties)
        for depth, members in _bounded(groups, len(top)):
            parts = top[:, [which[member] for member in members], :depth]
            ids = items[:, [which[member] for member in members], :depth]
            positions = rerank(parts, ids, scorers.similarity, [settings[m] for m in members], k)
            # where only items of the history are left, which are HIDDEN, the list ends
            shown = torch.gather(parts, 2, positions)
            chosen = torch.gather(ids, 2, positions).masked_fill_(shown <= HIDDEN / 2, -1)
            lists[members, rows, :length] = chosen.transpose(0, 1).cpu().numpy()
            scores[members, rows, :length] = shown.transpose(0, 1).cpu().numpy()
    return lists, scores


def fused_scores(
    scorers: Scorers | BlockwiseScorers, setting: ServingParams, rows: slice
) -> NDArray[np.float32]:
    """Return what the lists of some users are made from, before re-ranking.

    Returns:
        Fused scores, popularity penalty applied, ``[rows, N]``; NaN for items of the history.
    """
    if isinstance(scorers, BlockwiseScorers):
        scorers, rows = scorers.take(rows), slice(None)
    _check(scorers, [setting])
    used = {n: scores for n, scores in scorers.experts.items() if setting.fusion.get(n, 0) > 0}
    fused = _fuse(replace(scorers, experts=used), [setting], rows)[:, 0]
    return np.asarray(fused.masked_fill_(scorers.seen[rows], float("nan")).cpu().numpy())


def _by_depth(
    settings: Sequence[ServingParams], depths: Sequence[int], k: int
) -> dict[int, list[int]]:
    """Return settings that are re-ranked together: depths rounded up to a power of two."""
    groups: dict[int, list[int]] = {}
    for index, (setting, depth) in enumerate(zip(settings, depths, strict=True)):
        # without MMR the order stays, so the first k are enough; few distinct depths mean few
        # calls, and more items than a setting's depth never enter its list (MMR reads its depth)
        need = depth if setting.mmr > 0 else min(k, depth)
        bucket = min(1 << (need - 1).bit_length(), max(depths))
        groups.setdefault(bucket, []).append(index)
    return groups


def _bounded(groups: Mapping[int, list[int]], users: int) -> Iterator[tuple[int, list[int]]]:
    """Yield the groups, cut so that the places of one part stay below `CHUNK_ELEMENTS`."""
    for depth, members in groups.items():
        size = max(1, CHUNK_ELEMENTS // (depth * users))
        for begin in range(0, len(members), size):
            yield depth, members[begin : begin + size]


def _distinct(settings: Sequence[ServingParams]) -> tuple[list[ServingParams], list[int]]:
    """Return settings that differ before re-ranking, and which of them each setting is."""
    index: dict[str, int] = {}
    fused: list[ServingParams] = []
    which = []
    for setting in settings:
        powers = sorted(setting.exponents.items())
        key = repr((setting.fusion, powers, setting.popularity_penalty))
        if key not in index:
            index[key] = len(fused)
            fused.append(setting)
        which.append(index[key])
    return fused, which


def _fuse(scorers: Scorers, settings: Sequence[ServingParams], rows: slice) -> Tensor:
    """Compute fused scores ``[users, S, N]``: one matrix product per user."""
    seen = scorers.seen[rows]
    device = seen.device
    parts, weights = [], []

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, device=device).expand(len(seen), -1)

    for name, scores in scorers.experts.items():
        parts.append(scores[rows])
        weights.append(column([setting.fusion.get(name, 0.0) for setting in settings]))
    for name, network in scorers.networks.items():
        powers = torch.tensor(
            [powers_of(network.tasks, setting) for setting in settings], device=device
        )
        # a product of powers is standardised without computing it over all items: the variance of
        # a weighted sum of logs follows from the mean products of these logs
        deviation = deviations(network.products[rows], powers)
        weight = column([setting.fusion.get(name, 0.0) for setting in settings]) / deviation
        parts += [values[rows] for values in (network.relevance, *network.tasks.values())]
        weights += [weight * power for power in powers.T]
    # the penalty is one more scorer with a negative sign, so that one bmm does everything
    parts.append(-scorers.popularity.expand_as(parts[0]))
    weights.append(column([setting.popularity_penalty for setting in settings]))
    fused = torch.bmm(torch.stack(weights, 2), torch.stack(parts, 1))
    return fused.masked_fill_(seen.unsqueeze(1), HIDDEN)


def powers_of(tasks: Iterable[str], setting: ServingParams) -> list[float]:
    """Return exponents of relevance and of each of the given tasks."""
    own = [setting.exponents.get(name, 0.0) for name in tasks]
    return [setting.exponents.get(RELEVANCE, 1.0), *own]


def deviations(products: Tensor, powers: Tensor) -> Tensor:
    """Compute the deviation of the log of a product of powers over unseen items ``[users, S]``.

    Args:
        products: Mean products of the centred logs of its factors ``[users, A, A]``.
        powers: ``[S, A]``.
    """
    powers = powers.to(products.dtype)
    variance = torch.einsum("sa,uab,sb->us", powers, products, powers)
    return variance.clamp(min=1e-12).sqrt()
