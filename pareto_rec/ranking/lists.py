"""Serving policy: fused scores -> popularity penalty and boosts -> MMR within a depth -> top k.

On a processor compiled loops make one list after the other; elsewhere everything is vectorised over
users and over serving settings. Both work in chunks of users so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.ranking.compiled_lists import are_compiled, write_lists
from pareto_rec.ranking.fusion import distinct, fuse
from pareto_rec.ranking.mmr import rerank
from pareto_rec.ranking.scorers import BlockwiseScorers, Scorers, ServingParams
from pareto_rec.ranking.ties import HIDDEN, as_they_stand, largest

CHUNK_ELEMENTS = 4_000_000  # most scores held at once while ranking
PART_ELEMENTS = 16_000_000  # most scores of one scorer that a part of the users has


def _check(scorers: Scorers, settings: Sequence[ServingParams]) -> None:
    known = [*scorers.experts, *scorers.networks]
    for setting in settings:
        for name in setting.fusion:
            if name not in known and setting.fusion[name] > 0:
                raise unknown("scorer in the fusion", name, known)
        for name, weight in setting.boosts.items():
            if name not in scorers.boosts and weight:
                raise unknown("gain in the boosts", name, scorers.boosts)
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
        Item indices and fused scores (penalty and boosts applied), each ``[S, users, k]``, best
        first; -1 (and a score of `HIDDEN`) where a user had fewer than k unseen items.

    Raises:
        BadRequestError: If a fusion names a scorer, or a boost a gain, that is not there, or no
            scorer has a weight above 0.
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
    lists = np.full((len(settings), len(scorers.seen), k), -1, dtype=np.int64)
    scores = np.full(lists.shape, HIDDEN, dtype=np.float32)
    write = write_lists if are_compiled(scorers) else write_together
    write(scorers, settings, lists, scores)
    return lists, scores


def write_together(
    scorers: Scorers,
    settings: Sequence[ServingParams],
    lists: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Write what `compiled_lists.write_lists` does with PyTorch's operators, on any device.

    All lists of a chunk of users are made at once.
    """
    (users, n_items), k = scorers.seen.shape, lists.shape[2]
    depths = [min(n_items, max(k, setting.depth)) for setting in settings]
    # many settings of a sweep differ in mmr and depth alone: they share fused scores and the top
    fused, which = distinct(settings)
    groups = _by_depth(settings, depths, k)
    length, ties = min(k, n_items), scorers.ties or as_they_stand(n_items, scorers.seen.device)
    # the fused scores of a chunk are the largest array: users x settings x items
    step = max(1, CHUNK_ELEMENTS // (n_items * len(fused)))
    for begin in range(0, users, step):
        rows = slice(begin, begin + step)
        top, items = largest(fuse(scorers, fused, rows), max(depths), ties)
        for depth, members in _bounded(groups, len(top)):
            parts = top[:, [which[member] for member in members], :depth]
            ids = items[:, [which[member] for member in members], :depth]
            positions = rerank(parts, ids, scorers.similarity, [settings[m] for m in members], k)
            # where only items of the history are left, which are HIDDEN, the list ends
            shown = torch.gather(parts, 2, positions)
            chosen = torch.gather(ids, 2, positions).masked_fill_(shown <= HIDDEN / 2, -1)
            lists[members, rows, :length] = chosen.transpose(0, 1).cpu().numpy()
            scores[members, rows, :length] = shown.transpose(0, 1).cpu().numpy()


def fused_scores(
    scorers: Scorers | BlockwiseScorers, setting: ServingParams, rows: slice
) -> NDArray[np.float32]:
    """Return what the lists of some users are made from, before re-ranking.

    Returns:
        Fused scores, penalty and boosts applied, ``[rows, N]``; NaN for items of the history.
    """
    if isinstance(scorers, BlockwiseScorers):
        scorers, rows = scorers.take(rows), slice(None)
    _check(scorers, [setting])
    used = {n: scores for n, scores in scorers.experts.items() if setting.fusion.get(n, 0) > 0}
    fused = fuse(replace(scorers, experts=used), [setting], rows)[:, 0]
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
