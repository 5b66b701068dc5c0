"""Cleaning of a log once it is read: merged items, duplicates, and the k-core."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pareto_rec.data.schema import FloatArray, IntArray, Interactions
from pareto_rec.data.table.options import Core, Duplicates
from pareto_rec.data.table.row_audit import RowAudit
from pareto_rec.data.table.values import Mask


def same_text(texts: tuple[str, ...], ids: tuple[str, ...]) -> IntArray:
    """Return for each item ``[items]`` the first item of the same text, itself without a text.

    Small and capital letters and blanks make no difference.
    """
    first: dict[str, int] = {}
    plain = (" ".join(text.lower().split()) for text in texts)
    keys = (text or f"\0{id_}" for text, id_ in zip(plain, ids, strict=True))
    return np.array([first.setdefault(key, index) for index, key in enumerate(keys)], np.int64)


def without_duplicates(
    rows: Interactions,
    origin: IntArray,
    policy: Duplicates,
    against: tuple[str, ...],
    account: RowAudit,
) -> tuple[Interactions, IntArray]:
    """Apply a policy of duplicates to rows, sorted by user, item and time.

    Only interactions count as duplicates of each other (all but ``drop``): a cancellation is not
    a second purchase, nor is an impression without an answer.

    Args:
        rows: All rows.
        origin: File of each of them ``[rows]``.
        policy: See `TableOptions`.
        against: Signals that speak against an item.
        account: Counts the rows that were left out or found.

    Returns:
        The rows that are left, and their files.
    """
    order = _order(rows, against)
    rows, origin = rows.take(order), origin[order]
    kind, names = rows.positive(against), sorted(rows.signals)
    pair = _starts(rows.user, kind, rows.item)
    again = ~pair & kind
    equal = ~_starts(
        rows.user, rows.item, rows.time, *(rows.signals[n] for n in names), *_shown(rows)
    )
    account.notes["rows equal to another in all that is read"] = int(equal.sum())
    if policy == "keep":
        return rows, origin
    gone, reason = {
        "drop": (equal, "equal to another row in all that is read"),
        "last": (~np.append(pair[1:], True) & kind, "an earlier row of the same user and item"),
        "sum": (again, "summed into the first of the same user and item"),
        "first": (again, "a later row of the same user and item"),
    }[policy]
    account.drop_of(reason, origin[gone])
    left = _summed(rows, ~gone) if policy == "sum" else rows.take(~gone)
    return left, origin[~gone]


def numbered_within_users(rows: Interactions) -> Interactions:
    """Replace times by the number of each row among those of its user, 0 for the earliest.

    What is left says the order of each user's rows and nothing about other users: where these
    stand in a file, before or between, makes no difference.
    """
    order = np.lexsort((rows.time, rows.user))
    counts = np.bincount(rows.user)
    number = np.empty(len(rows), dtype=np.int64)
    number[order] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return replace(rows, time=number)


def _order(rows: Interactions, against: tuple[str, ...]) -> IntArray:
    """Sort rows by user, kind, item, time, and all else."""
    signals = [rows.signals[name] for name in sorted(rows.signals)]
    kind = rows.positive(against)
    return np.lexsort([*_shown(rows), *signals, rows.time, rows.item, kind, rows.user])


def _shown(rows: Interactions) -> list[IntArray | FloatArray]:
    return [column for column in (rows.position, rows.propensity) if column is not None]


def _starts(*columns: np.ndarray[tuple[int], np.dtype[np.generic]]) -> Mask:
    """Mark rows ``[rows]`` that differ from the row before in any column; NaN equals NaN."""
    mask = np.zeros(len(columns[0]), dtype=bool)
    mask[:1] = True
    for column in columns:
        here, before = column[1:], column[:-1]
        differs = here != before
        if np.issubdtype(column.dtype, np.floating):
            differs &= ~((here != here) & (before != before))
        mask[1:] |= differs
    return mask


def _summed(rows: Interactions, first: Mask) -> Interactions:
    """Sum signals up to the next first row; NaN counts only among NaN."""
    starts = np.flatnonzero(first)
    signals = {}
    for name, values in rows.signals.items():
        known = np.add.reduceat(~np.isnan(values), starts, dtype=np.int64) > 0
        sums = np.add.reduceat(np.nan_to_num(values).astype(np.float64), starts)
        signals[name] = np.where(known, sums, np.nan).astype(np.float32)
    return replace(rows.take(first), signals=signals)


def k_core(
    rows: Interactions, origin: IntArray, against: tuple[str, ...], core: Core, account: RowAudit
) -> Mask:
    """Mark rows ``[rows]`` of users and items that have enough interactions among the rows kept.

    Users and items with too few are left out in turn until nothing changes. Rows that are not
    interactions stay with their user and item and count for neither.
    """
    mask = np.ones(len(rows), dtype=bool)
    if core.user == core.item == 1:
        return mask
    kind, rounds = rows.positive(against), 0
    while True:
        before = int(mask.sum())
        for code, fewest in ((rows.user, core.user), (rows.item, core.item)):
            count = np.bincount(code[mask & kind], minlength=int(code.max(initial=0)) + 1)
            mask &= count[code] >= fewest
        rounds += 1
        if int(mask.sum()) == before:
            break
    message = f"of a user with fewer than {core.user} or an item with fewer than {core.item} rows"
    account.drop_of(f"{message} that speak for an item", origin[~mask])
    account.notes["rounds until every user and item had enough rows"] = rounds
    return mask
