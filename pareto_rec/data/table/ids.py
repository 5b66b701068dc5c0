"""Ids of users and items: in the same form in the log and beside it, never merged silently."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.numerals import UNKNOWN
from pareto_rec.data.table.row_audit import RowAudit
from pareto_rec.data.table.values import Mask

Ids = tuple[str, ...]

MERGED = "is a float too large for an id, as several ids may have become one; write it as text"

_WHOLE = r"^-?\d+(\.0+)?$"
_ROUNDED = r"^\d(\.\d+)?[eE]\+?\d+$"
_MANY = 0.1  # share of the ids of a log that are not beside it


def merging(column: pa.ChunkedArray) -> Mask:
    """Mark rows ``[rows]`` of floats so large that neighbouring whole numbers are equal."""
    kind = column.type
    if not pa.types.is_floating(kind):
        return np.zeros(len(column), dtype=bool)
    digits = {16: 11, 32: 24, 64: 53}[kind.bit_width]
    values = pc.cast(column, pa.float64()).fill_null(0.0).to_numpy()
    return np.asarray(np.abs(values) >= 2.0**digits)


def written_alike(*several: Ids) -> tuple[Ids, ...]:
    """Put ids of several sources in one form: 123.0 is 123 if all ids are whole numbers.

    A float column writes 123.0 where an integer column has 123. Versions such as 1.0 and 1.1 stay.
    """
    arrays = [pa.array(ids, pa.string()) for ids in several]
    integral = all(
        pc.all(pc.match_substring_regex(array, pattern=_WHOLE), min_count=0).as_py()
        for array in arrays
    )
    pointed = any(pc.any(pc.match_substring(array, "."), min_count=0).as_py() for array in arrays)
    if not (integral and pointed):
        return several
    short = [
        pc.replace_substring_regex(array, pattern=r"\.0+$", replacement="") for array in arrays
    ]
    return tuple(tuple(array.to_pylist()) for array in short)


def merged(names: Ids) -> tuple[IntArray, Ids]:
    """Return for each name its index among the different names in rising order, and these."""
    different = tuple(sorted(set(names)))
    positions = {name: number for number, name in enumerate(different)}
    return np.array([positions[name] for name in names], dtype=np.int64), different


def warn_of_ids(role: str, ids: Ids, code: IntArray, account: RowAudit) -> None:
    """Warn of ids that may stand for a missing value, or were rounded before they were written."""
    rows = np.bincount(code[code >= 0], minlength=len(ids))
    for number, name in enumerate(ids):
        if name in UNKNOWN:
            account.warnings.append(
                f'{rows[number]:,} rows have the {role} "{name}", which is read as an id like any '
                "other; if it stands for nothing, say so in data.missing"
            )
    rounded = pc.match_substring_regex(pa.array(ids, pa.string()), pattern=_ROUNDED)
    shown = pa.array(ids, pa.string()).filter(rounded).slice(0, 3).to_pylist()
    if shown:
        account.warnings.append(
            f"ids of {role}s such as {', '.join(shown)} look rounded by a spreadsheet: several ids "
            "may have become one; export them as text"
        )


_RULES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("without leading zeros", lambda id_: id_.lstrip("0")),
    ("with small and capital letters alike", str.casefold),
    ("without the fraction .0", lambda id_: re.sub(r"\.0+$", "", id_)),
    ("without quotes and blanks around them", lambda id_: id_.strip(" \t\"'\u00a0\u200b\ufeff")),
    ("by their digits alone", lambda id_: re.sub(r"\D", "", id_)),
)


def warn_of_unknown_ids(role: str, log: Ids, beside: Sequence[str], account: RowAudit) -> None:
    """Warn if many ids of a log are not in the files beside it, with a rule that helps."""
    known = set(beside)
    strange = [id_ for id_ in log if id_ not in known]
    if len(strange) <= _MANY * len(log):
        return
    message = f"{len(strange):,} of {len(log):,} {role}s of the log are not in data.{role}s.files"
    for words, rule in _RULES:
        there = {rule(id_): id_ for id_ in beside}
        pairs = [(id_, there[key]) for id_ in strange if (key := rule(id_)) and key in there]
        if len(pairs) * 2 > len(strange):
            shown = "; ".join(f'log: "{ours}", file: "{theirs}"' for ours, theirs in pairs[:3])
            account.warnings.append(
                f"{message}; {len(pairs):,} of them would be {words} ({shown}): write the ids alike"
            )
            return
    if len(strange) * 2 > len(log):
        shown = f'log: "{strange[0]}", file: "{beside[0]}"' if beside else "which have none"
        account.warnings.append(f"{message} ({shown})")
