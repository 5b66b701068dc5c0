"""Registry of splits: from a data set to what search and confirmation see."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.seeds import child_seed
from pareto_rec.data.cuts import (
    HashArray,
    Log,
    Mask,
    Parts,
    cold_items,
    cold_users,
    global_time,
    leave_last_out,
    pair_hash,
    per_user,
    random_rows,
)
from pareto_rec.data.history_length import with_history_length
from pareto_rec.data.schema import Dataset, IntArray, Interactions, Split, Stage


@dataclass(frozen=True)
class Kind:
    """A registered way to split.

    Attributes:
        cut: Says which rows belong where.
        name: As written in a config.
        shares: Whether the shares of validation and test have a say.
        needs: What it must know: the ``times`` of rows, the ``order`` of each user's, ``nothing``.
        revision: Part of the content hash; changed when the parts change for the same request.
    """

    cut: Callable[[Log], Parts]
    name: str
    shares: bool = True
    needs: Literal["times", "order", "nothing"] = "order"
    revision: str = "1"


_KINDS = (
    Kind(per_user, "per_user", revision="per-user-by-time-2"),
    Kind(leave_last_out, "leave_last_out", shares=False),
    Kind(global_time, "global_time", needs="times"),
    Kind(random_rows, "random", needs="nothing"),
    Kind(cold_items, "cold_items", needs="nothing"),
    Kind(cold_users, "cold_users"),
)
OF_EACH_USER = {"per_user", "leave_last_out"}  # cut the rows of each user apart
SPLITS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})


def split_kind(name: str) -> Kind:
    """Look up a registered kind of split.

    Raises:
        BadRequestError: If there is none of that name.
    """
    if name not in SPLITS:
        raise unknown("kind of split", name, SPLITS)
    return SPLITS[name]


def split(dataset: Dataset, kind: str, *, validation: float, test: float, seed: int) -> Split:
    """Cut a data set into train, validation and test.

    Rows of one moment are ordered by a seeded hash of the original user and item ids: neither the
    order of the file nor the numbering of users and items has a say.

    Args:
        dataset: What to split; not altered.
        kind: A name in `SPLITS`.
        validation: Share for validation, above 0; of what, the kind says.
        test: Share for the test, above 0; both together below 1.
        seed: Orders ties in time, and draws what is drawn.

    Raises:
        BadRequestError: If the kind is not known, a share is out of range, a part is empty, or the
            kind needs times, or an order, that the data does not have.
    """
    chosen = split_kind(kind)
    _check_times(dataset, chosen)
    _check_shares(validation, test)
    user_hash, item_hash = (
        _id_hash(ids, child_seed(seed, "split", label))
        for ids, label in ((dataset.users.ids, "user"), (dataset.items.ids, "item"))
    )
    rows = _ordered(dataset.interactions, user_hash, item_hash)
    log = Log(rows, user_hash, item_hash, validation, test)
    parts = chosen.cut(log)
    positive = rows.positive(dataset.against)
    for name in ("train", "validation", "test"):
        if not (getattr(parts, name) & positive).any():
            raise _empty(dataset.name, chosen, name, log)
    shares = f"{validation!r} {test!r}" if chosen.shares else ""
    label = chosen.revision if kind == "per_user" else f"{kind}-{chosen.revision}"
    ordered = replace(dataset, interactions=rows)
    return _stages(ordered, parts, kind, f"{label} {ordered.content_hash} {shares} {seed}")


def _check_times(dataset: Dataset, kind: Kind) -> None:
    known = {"nothing"} | ({"order"} if dataset.ordered else set())
    if dataset.timed or kind.needs in known:
        return
    names = ", ".join(f'"{other.name}"' for other in _KINDS if other.needs in known)
    has = "only the order of each user's rows" if dataset.ordered else "no times"
    raise BadRequestError(
        f'split "{kind.name}" needs to know when rows happened and {dataset.name} has {has}: '
        f"name its column of times, or set split.kind to one of {names}"
    )


def split_per_user(dataset: Dataset, *, validation: float, test: float, seed: int) -> Split:
    """Run :func:`split` of the kind ``per_user``."""
    return split(dataset, "per_user", validation=validation, test=test, seed=seed)


def _stages(dataset: Dataset, parts: Parts, kind: str, label: str) -> Split:
    rows = dataset.interactions
    positive = rows.positive(dataset.against)
    train, held, last = (
        _take(rows, part & positive) for part in (parts.train, parts.validation, parts.test)
    )
    shown, held_shown, last_shown = (
        None if positive.all() else _take(rows, part)
        for part in (parts.train, parts.validation, parts.test)
    )

    def stage(name: str, history: Interactions, held_out: Interactions) -> Stage:
        digest = _digest(f"{label} {name}")
        held = held_shown if name == "validation" else last_shown
        users = with_history_length(dataset.users, history)
        known = (dataset.items, users, digest, shown, held)
        stage = Stage(name, train, history, held_out, *known)
        if not stage.repeats.any():
            return stage
        # the same rows were another truth before repeats were left out of it
        return replace(stage, content_hash=_digest(f"{digest} without repeats"))

    known = _with(parts.train, parts.validation_context)
    later = _with(known | parts.validation, parts.test_context)
    history = train if known is parts.train else _take(rows, known & positive)
    validation = stage("validation", history, held)
    test = stage("test", _take(rows, later & positive), last)
    if not dataset.timed:
        but = ", only the order of each user's rows" if dataset.ordered else ""
        return Split(validation, test, None, kind, f"no times are known{but}", dataset.account)
    late = float((train.time > np.median(last.time)).mean())
    leak = _leak(validation, test, late)
    return Split(validation, test, late, kind, leak, dataset.account)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _with(mask: Mask, more: Mask | None) -> Mask:
    return mask if more is None else mask | more


def _leak(validation: Stage, test: Stage, late: float) -> str:
    """Describe in one line what a split leaks, and the users and items unknown to training."""
    train, last = validation.train, test.held_out
    users, items = (
        float((~np.isin(getattr(last, name), getattr(train, name))).mean())
        for name in ("user", "item")
    )
    first = np.full(test.shape[0], np.iinfo(np.int64).max)
    np.minimum.at(first, last.user, last.time)
    own = train.time > first[train.user]
    lines = [f"{late:.0%} of the training rows are later than the median test row"]
    if own.any():
        lines.append(f"{own.mean():.0%} are later than a test row of their own user")
    for share, what in ((users, "users"), (items, "items")):
        if share:
            lines.append(f"{share:.1%} of the test rows are of {what} without training rows")
    return "; ".join(lines)


def _empty(data: str, kind: Kind, part: str, log: Log) -> BadRequestError:
    most = int(log.counts()[0].max(initial=0))
    request = f" for validation = {log.validation:g} and test = {log.test:g}" if kind.shares else ""
    return BadRequestError(
        f"the {part} part of {data} is empty: its {len(log.rows)} rows (at most {most} of one "
        f'user) do not suffice for the split "{kind.name}"{request}; {_advice(kind, most)}'
    )


def _advice(kind: Kind, most: int) -> str:
    """Say what can help: no share does where users have too few rows to be cut."""
    if kind.name in OF_EACH_USER and most < 3:
        return (
            "no share helps where users have fewer than three rows each: set split.kind to "
            '"global_time" or "random", which cut all rows together'
        )
    return "raise the share or bring more data" if kind.shares else "bring more data"


def _check_shares(validation: float, test: float) -> None:
    for name, share in (("validation", validation), ("test", test)):
        if not 0.0 < share < 1.0:
            raise BadRequestError(f"split share {name} = {share:g} must lie between 0 and 1")
    if validation + test >= 1.0:
        raise BadRequestError(
            f"split shares validation = {validation:g} and test = {test:g} leave nothing to train "
            "on; together they must stay below 1"
        )


def _ordered(rows: Interactions, user_hash: HashArray, item_hash: HashArray) -> Interactions:
    """Sort rows by user, time and tie hash; rows alike in all three by their signals."""
    ties = pair_hash(user_hash[rows.user], item_hash[rows.item])
    keys: list[NDArray[np.generic]] = [ties, rows.time, rows.user]
    order = np.lexsort(keys)
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for key in keys:
        same &= key[order[1:]] == key[order[:-1]]
    if same.any():
        order = np.lexsort([rows.signals[name] for name in sorted(rows.signals)] + keys)
    return _take(rows, order)


def _take(rows: Interactions, which: IntArray | Mask) -> Interactions:
    """Select rows as read-only arrays."""
    return rows.take(which).read_only()


def _id_hash(ids: Sequence[str], key: int) -> HashArray:
    """Compute a keyed 64-bit hash per id ``[ids]``."""
    secret = key.to_bytes(8, "big")
    raw = b"".join(hashlib.blake2b(id_.encode(), digest_size=8, key=secret).digest() for id_ in ids)
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64)
