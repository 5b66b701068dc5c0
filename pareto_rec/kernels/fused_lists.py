"""Loops from scores to lists: fusion, selection of the top and maximal marginal relevance.

One list at a time, from numbers that stay in a processor core's own caches: what a list holds
depends on its own setting and user alone. Every operation is rounded as it is written, weights of 0
are left out, and no sum depends on how many settings or users there are.

The top is found exactly: a threshold guessed from a sample of the items lets few items pass; they
are sorted out as integers whose order is that of scores, and of ranks among equal scores. Where too
few pass, all do.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pareto_rec.kernels.compiled import compiled_exactly

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int32]

TILE = 2048  # items at once: their scores stay in a core's own caches for all settings of a group
GROUP = 32  # settings whose candidates are collected in one pass over a user's scores
EIGHT = 8  # marks that are read at once
SAMPLE = 128  # items of a user that the threshold is guessed from
# no literals: numba would compile what is called with them once more
START, NONE = cast(int, np.int64(0)), cast(int, np.int64(-1))
RANKS = 32  # bits of a key below those of its score
LEAST_RANGE = 1e-9  # of the scores that are scaled to [0, 1]


class Items(NamedTuple):
    """What lists need to know of the items, N of them.

    Attributes:
        order: All items, the first of equals first ``[N]``.
        ranks: Where each item stands in `order` ``[N]``.
        kinds: What each item looks up its similarity by ``[N]``.
        similarity: Of each pair of kinds ``[kinds, kinds]``.
    """

    order: Integers
    ranks: Integers
    kinds: Integers
    similarity: Floats


class Settings(NamedTuple):
    """How lists are made, S ways.

    Attributes:
        weights: Of each scorer, in one row where they are those of all users ``[users, S, P]``.
        repeats: Whether the weights are those of the setting before it ``[S]``.
        pools: So many of the top may be chosen, at least the length of a list ``[S]``.
        diversity: Weight of diversity in maximal marginal relevance; 0 for the top as it is
            ``[S]``.
        places: Which list each is ``[S]``.
    """

    weights: Floats
    repeats: NDArray[np.bool_]
    pools: Integers
    diversity: Floats
    places: Integers


class Scores(NamedTuple):
    """What is summed, for some users: P scorers, those of all users last.

    Attributes:
        own: Scores of each user ``[users, P - Q, N]``.
        shared: Scores that are those of all users ``[Q, N]``.
        seen: Items that may not be in a list, rising, one user after the other.
        ends: Where those of each user end ``[users]``.
    """

    own: Floats
    shared: Floats
    seen: Integers
    ends: Integers


class _User(NamedTuple):
    """What is known of one user, as of all in `Scores`; weights are ``[S, P]``."""

    own: Floats
    shared: Floats
    seen: Integers
    weights: Floats


class _Candidates(NamedTuple):
    """What has passed, of a group of settings and one user.

    Attributes:
        keys: Scores and ranks in one integer each ``[GROUP, room]``.
        filled: So many of them are taken ``[GROUP]``.
        least: Lower scores do not pass ``[GROUP]``.
    """

    keys: Integers
    filled: Integers
    least: Floats

    @classmethod
    def empty(cls, group: int, room: int) -> _Candidates:
        """Return places for a group of settings."""
        filled, least = np.zeros(group, np.int64), np.zeros(group, np.float32)
        return cls(np.empty((group, room), np.int64), filled, least)


class _Work(NamedTuple):
    """Arrays to work in.

    Attributes:
        sample: Scores of a user's sample ``[P, SAMPLE]``.
        hidden: Which of the sample the user has seen ``[SAMPLE]``.
        fused: Fused scores of a tile or the sample ``[TILE]``.
        keys: Of the sample ``[SAMPLE]``.
        marks: Whether a score of a tile passes ``[TILE + EIGHT]``.
        places: Of those that pass ``[TILE + EIGHT]``.
    """

    sample: Floats
    hidden: NDArray[np.bool_]
    fused: Floats
    keys: Integers
    marks: Bytes
    places: Places

    @classmethod
    def empty(cls, parts: int) -> _Work:
        """Return arrays for so many scorers."""
        return cls(
            np.empty((parts, SAMPLE), np.float32),
            np.empty(SAMPLE, np.bool_),
            np.empty(TILE, np.float32),
            np.empty(SAMPLE, np.int64),
            np.empty(TILE + EIGHT, np.uint8),
            np.empty(TILE + EIGHT, np.int32),
        )


class _Pool(NamedTuple):
    """What maximal marginal relevance chooses from: items that are left ``[room]``.

    Attributes:
        worth: Weighted relevance.
        closest: Similarity to the most similar item that was chosen.
        kinds: What it looks up its similarity by.
    """

    worth: Floats
    closest: Floats
    kinds: Integers

    @classmethod
    def empty(cls, room: int) -> _Pool:
        """Return a pool of so many places."""
        worth, closest = np.empty(room, np.float32), np.empty(room, np.float32)
        return cls(worth, closest, np.empty(room, np.int64))


def fused_lists(
    summed: Scores,
    settings: Settings,
    items: Items,
    lists: Integers,
    scores: Floats,
    first: int = 0,
) -> None:
    """Write the lists of some users.

    Args:
        summed: What the fused scores are summed from.
        settings: S of them.
        items: What is known of the items.
        lists: Items, best first; places that no item is left for stay as they are
            ``[S, users, k]``.
        scores: Their fused scores, likewise.
        first: Which of the users of `lists` the first one is.
    """
    room = 2 * int(settings.pools.max(initial=1)) + TILE
    candidates, pool = _Candidates.empty(min(GROUP, len(lists)), room), _Pool.empty(room)
    work = _Work.empty(summed.own.shape[1] + len(summed.shared))
    _lists(summed, settings, items, candidates, pool, work, lists, scores, first)


@compiled_exactly
def _lists(
    summed: Scores,
    settings: Settings,
    items: Items,
    candidates: _Candidates,
    pool: _Pool,
    work: _Work,
    lists: Integers,
    scores: Floats,
    first: int,
) -> None:
    sets, group, seen_before = len(settings.pools), len(candidates.filled), 0
    for index in range(len(summed.ends)):
        weights = settings.weights[min(index, len(settings.weights) - 1)]
        seen = summed.seen[seen_before : summed.ends[index]]
        seen_before = summed.ends[index]
        user = _User(summed.own[index], summed.shared, seen, weights)
        _take_sample(user, work)
        for begin in range(0, sets, group):
            end = min(begin + group, sets)
            _guess(user, settings, begin, end, candidates, work)
            _collect(user, settings, items, begin, end, candidates, START, work)
            for s in range(begin, end):
                row, place = s - begin, settings.places[s]
                wanted = min(settings.pools[s], len(items.ranks) - len(seen))
                if candidates.filled[row] < wanted:  # the guess was too high
                    candidates.filled[row], candidates.least[row] = 0, -np.inf
                    _collect(user, settings, items, s, s + 1, candidates, row, work)
                keys = candidates.keys[row]
                _select(keys, candidates.filled[row], wanted)
                chosen, values = lists[place, first + index], scores[place, first + index]
                if settings.diversity[s] == 0:
                    _in_order(keys, wanted, items, chosen, values)
                elif wanted:
                    _diversify(keys, wanted, settings.diversity[s], items, pool, chosen, values)


@compiled_exactly
def _take_sample(user: _User, work: _Work) -> None:
    size, own, passed = user.shared.shape[1], len(user.own), 0
    for place in range(SAMPLE):
        item = place * size // SAMPLE
        for part in range(own):
            work.sample[part, place] = user.own[part, item]
        for part in range(len(user.shared)):
            work.sample[own + part, place] = user.shared[part, item]
        while passed < len(user.seen) and user.seen[passed] < item:
            passed += 1
        work.hidden[place] = passed < len(user.seen) and user.seen[passed] == item


@compiled_exactly
def _guess(
    user: _User, settings: Settings, begin: int, end: int, candidates: _Candidates, work: _Work
) -> None:
    """Guess a score for each setting that at least the wanted items reach."""
    size, count = user.shared.shape[1], len(work.keys)
    for s in range(begin, end):
        candidates.filled[s - begin], candidates.least[s - begin] = 0, -np.inf
        expected = settings.pools[s] * SAMPLE / size  # so many of the sample are wanted
        rank = int(expected + 2 * np.sqrt(expected)) + 2
        if size < 2 * SAMPLE or rank >= SAMPLE:
            continue
        # the sample's rows are all of its parts, so that none is shared
        _fuse(work.sample, user.shared, user.weights[s], START, count, work.fused)
        for place in range(SAMPLE):
            if work.hidden[place]:
                work.fused[place] = -np.inf
            work.keys[place] = _key(work.fused[place], place)
        _select(work.keys, count, rank)
        candidates.least[s - begin] = _lowest(work.keys, rank)


@compiled_exactly
def _fuse(
    own: Floats, shared: Floats, weights: Floats, begin: int, end: int, fused: Floats
) -> None:
    """Write weighted sums, in the order of the parts; two at a time, which saves reading sums."""
    width, summed, pending = end - begin, False, NONE
    for p in range(len(weights)):
        if weights[p] == 0:
            continue
        if pending < 0:
            pending = p
            continue
        first, second = _part(own, shared, pending)[begin:end], _part(own, shared, p)[begin:end]
        one, other = weights[pending], weights[p]
        if summed:
            for i in range(width):
                fused[i] = (fused[i] + one * first[i]) + other * second[i]
        else:
            for i in range(width):
                fused[i] = one * first[i] + other * second[i]
        summed, pending = True, -1
    if not summed:
        fused[:width] = 0
    if pending >= 0:
        first, one = _part(own, shared, pending)[begin:end], weights[pending]
        for i in range(width):
            fused[i] = fused[i] + one * first[i]


@compiled_exactly
def _part(own: Floats, shared: Floats, index: int) -> Floats:
    part: Floats = own[index] if index < len(own) else shared[index - len(own)]
    return part


@compiled_exactly
def _collect(
    user: _User,
    settings: Settings,
    items: Items,
    begin: int,
    end: int,
    candidates: _Candidates,
    first: int,
    work: _Work,
) -> None:
    """Collect the items that pass, for settings from `begin` to `end`, in rows from `first`."""
    fused, size, hidden_end = work.fused, len(items.ranks), 0
    for start in range(0, size, TILE):
        stop, hidden = min(start + TILE, size), hidden_end
        while hidden_end < len(user.seen) and user.seen[hidden_end] < stop:
            hidden_end += 1
        for s in range(begin, end):
            if s == begin or not settings.repeats[s]:
                _fuse(user.own, user.shared, user.weights[s], start, stop, fused)
                for i in range(hidden, hidden_end):
                    fused[user.seen[i] - start] = -np.inf
            row = s - begin + first
            passed = _pass(fused, stop - start, candidates.least[row], work.marks, work.places)
            filled, keys = candidates.filled[row], candidates.keys[row]
            ranks = items.ranks[start:stop]
            for i in range(passed):
                place = work.places[i]
                keys[filled + i] = _key(fused[place], size - 1 - ranks[place])
            filled += passed
            if filled > len(keys) - TILE:  # the next tile might not find room
                _select(keys, filled, settings.pools[s])
                filled = settings.pools[s]
                candidates.least[row] = _lowest(keys, filled)
            candidates.filled[row] = filled


@compiled_exactly
def _pass(fused: Floats, width: int, least: np.float32, marks: Bytes, places: Places) -> int:
    """Write the places of scores that are not below the least; return how many there are."""
    for i in range(width):  # this loop is vectorised; what is not a number passes
        marks[i] = not (fused[i] < least)
    marks[width : width + EIGHT] = 0
    eights, passed = marks.view(np.uint64), np.uint32(0)
    for eight in range((width + EIGHT - 1) // EIGHT):
        if eights[eight]:
            for i in range(eight * EIGHT, (eight + 1) * EIGHT):  # without a branch
                places[passed] = i
                passed = np.uint32(passed + marks[i])
    return int(passed)


@compiled_exactly
def _select(keys: Integers, count: int, wanted: int) -> None:
    """Bring the `wanted` largest of the first `count` keys, all different, to the beginning."""
    low, high = 0, count
    while low < wanted < high:
        first, middle, last = keys[low], keys[(low + high) // 2], keys[high - 1]
        if (first > middle) == (middle > last):
            place = (low + high) // 2
        elif (middle > first) == (first > last):
            place = low
        else:
            place = high - 1
        pivot = keys[place]
        keys[place] = keys[high - 1]
        end = low
        for j in range(low, high - 1):  # without a branch: what is larger comes before `end`
            key = keys[j]
            keys[j] = keys[end]
            keys[end] = key
            end += key > pivot
        keys[high - 1] = keys[end]
        keys[end] = pivot
        if end >= wanted:
            high = end
        else:
            low = end + 1


@compiled_exactly
def _lowest(keys: Integers, count: int) -> np.float32:
    lowest = keys[0]
    for i in range(1, count):
        lowest = min(lowest, keys[i])
    return _score(lowest)


@compiled_exactly
def _in_order(keys: Integers, count: int, items: Items, chosen: Integers, scores: Floats) -> None:
    """Write the list of the largest first."""
    gap = count // 2
    while gap > 0:  # Shell's sort: the lists are short, and it is compiled fast
        for end in range(gap, count):
            key, place = keys[end], end
            while place >= gap and keys[place - gap] < key:
                keys[place] = keys[place - gap]
                place -= gap
            keys[place] = key
        gap = 1 if gap == 2 else gap * 5 // 11
    for place in range(min(len(chosen), count)):
        chosen[place], scores[place] = _item(keys[place], items), _score(keys[place])


@compiled_exactly
def _diversify(
    keys: Integers,
    count: int,
    diversity: np.float32,
    items: Items,
    pool: _Pool,
    chosen: Integers,
    scores: Floats,
) -> None:
    """Write the list by maximal marginal relevance.

    ``argmax (1 - m) s_i - m max_j cos(c_i, c_j)`` over the chosen j, with s scaled to [0, 1] within
    what may be chosen; of equals the one of the largest key.
    """
    best = _fill(keys, count, diversity, items, pool)
    length = min(len(chosen), count)
    for place in range(length):
        key, kind = keys[best], pool.kinds[best]
        chosen[place], scores[place] = _item(key, items), _score(key)
        if place + 1 == length:
            break
        count -= 1  # the last one takes the place of the chosen one
        keys[best], pool.worth[best] = keys[count], pool.worth[count]
        pool.closest[best], pool.kinds[best] = pool.closest[count], pool.kinds[count]
        row, best, highest = items.similarity[kind], 0, np.float32(-np.inf)
        for i in range(count):  # only the item just chosen can raise a maximum
            closest = max(pool.closest[i], row[pool.kinds[i]])
            pool.closest[i] = closest
            worth = pool.worth[i] - diversity * closest
            if worth > highest or (worth == highest and keys[i] > keys[best]):
                best, highest = i, worth


@compiled_exactly
def _fill(keys: Integers, count: int, diversity: np.float32, items: Items, pool: _Pool) -> int:
    """Fill the pool; return the place of the highest score, which a list begins with."""
    best, bottom = 0, _lowest(keys, count)
    for i in range(1, count):
        if keys[i] > keys[best]:
            best = i
    scale = max(_score(keys[best]) - bottom, np.float32(LEAST_RANGE))
    for i in range(count):
        pool.worth[i] = (np.float32(1) - diversity) * ((_score(keys[i]) - bottom) / scale)
        pool.closest[i] = np.float32(0)
        pool.kinds[i] = items.kinds[_item(keys[i], items)]
    return best


@compiled_exactly
def _key(score: np.float32, low: int) -> np.int64:
    # the flip makes integers of the floats' order (negative floats have it reversed); adding 0
    # makes one zero of both
    bits = np.float32(score + np.float32(0)).view(np.int32)
    ordered = bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))
    return np.int64((np.int64(ordered) << RANKS) | np.int64(low))


@compiled_exactly
def _score(key: np.int64) -> np.float32:
    ordered = np.int32(key >> RANKS)
    bits = np.int32(ordered ^ ((ordered >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    return np.int32(bits).view(np.float32)


@compiled_exactly
def _item(key: np.int64, items: Items) -> np.int64:
    return np.int64(items.order[len(items.order) - 1 - (key & ((1 << RANKS) - 1))])
