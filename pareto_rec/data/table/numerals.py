"""Numerals: decimal commas, marks between thousands, currency signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Decimal = Literal[".", ","]

# Missing values in a column of numbers, besides the `missing` of all columns.
UNKNOWN = ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", r"\N")

_CURRENCY = (
    r"(?:US\$|R\$|C\$|A\$|\p{Sc}|USD|EUR|GBP|JPY|CNY|CHF|CAD|AUD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|"
    r"BGN|RUB|UAH|TRY|ILS|INR|BRL|MXN|ARS|CLP|ZAR|KRW|TWD|SGD|HKD|THB|IDR|AED|SAR|zł|Kč|kr\.?|Fr\.|Rs\.?)"
)
_BLANK = "[ \u00a0\u2009\u202f]"
_BEFORE = rf"^([+-]?){_BLANK}*{_CURRENCY}{_BLANK}*([+-]?\d)"
_AFTER = rf"(\d){_BLANK}*{_CURRENCY}$"
_SPACED = "^[+-]?\\d{1,3}([ \u00a0\u2009\u202f'\u2019]\\d{3})+([.,]\\d+)?$"
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class NumberFormat:
    """Format of the numbers of a column.

    Attributes:
        decimal: Between whole and fraction.
        certain: Whether some text is unambiguous; else a point is assumed.
        readable: Share of the texts that are numbers so written.
    """

    decimal: Decimal
    certain: bool
    readable: float


def number_format(texts: Sequence[str] | pa.Array) -> NumberFormat:
    """Detect how the numbers of a column are written from its texts.

    ``12,50`` and ``1.001,00`` speak for a comma, ``12.5`` and ``1,001.00`` for a point; ``1.500``
    and ``1,500`` for neither. Missing values do not count.
    """
    values = texts if isinstance(texts, pa.Array) else pa.array(list(texts), pa.string())
    values = pc.utf8_trim_whitespace(values.drop_null())
    values = values.filter(pc.invert(pc.is_in(values, value_set=pa.array(UNKNOWN))))
    bare = _bare(values)
    point, comma = _speaking(bare, ".", ","), _speaking(bare, ",", ".")
    decimal: Decimal = "," if comma > point else "."
    _, bad = parsed(values, decimal)
    return NumberFormat(decimal, bool(point or comma), 1.0 - float(bad.mean()) if len(bad) else 0.0)


def parsed(
    texts: pa.Array, decimal: Decimal | None = None, usual: Decimal | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Parse texts, none of them null, as numbers.

    Args:
        texts: ``[n]``, without blanks around them.
        decimal: Between whole and fraction; None: detected for each text.
        usual: Mark of ambiguous texts; None: that of most of the texts.

    Returns:
        Values ``[n]``, NaN where there is none; which texts are not finite numbers.
    """
    plain = pc.match_substring_regex(texts, pattern=_PLAIN)
    if "," not in (decimal, usual) and pc.all(plain, min_count=0).as_py():
        return _floats(texts)
    bare = _bare(texts)
    if decimal is not None:
        return _floats(_with_point(bare, decimal))
    usual = usual or number_format(texts).decimal
    values, bad = _floats(_with_point(bare, usual))
    if bad.any():  # a lone 12,50 among points can only be read in one way
        others, worse = _floats(_with_point(bare, "." if usual == "," else ","))
        values, bad = np.where(bad, others, values), bad & worse
    return values, bad


def _floats(texts: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Parse texts with points as numbers; mark those that are not finite numbers."""
    shaped = pc.match_substring_regex(texts, pattern=_PLAIN)
    texts = pc.if_else(shaped, texts, pa.scalar(None, pa.string()))
    texts = pc.utf8_ltrim(texts, characters="+")
    try:
        values = np.asarray(
            pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64
        )
    except pa.ArrowInvalid:  # beyond the range of its parser
        values = np.array([np.nan if t is None else float(t) for t in texts.to_pylist()])
    bad = ~np.isfinite(values)
    return np.where(bad, np.nan, values), bad


def _bare(texts: pa.Array) -> pa.Array:
    """Strip currency signs and blanks between thousands."""
    texts = pc.replace_substring(texts, pattern="\u2212", replacement="-")
    texts = pc.replace_substring_regex(texts, pattern=_BEFORE, replacement=r"\1\2")
    texts = pc.replace_substring_regex(texts, pattern=_AFTER, replacement=r"\1")
    spaced = pc.match_substring_regex(texts, pattern=_SPACED)
    if pc.any(spaced, min_count=0).as_py():
        joined = pc.replace_substring_regex(
            texts, pattern="[ \u00a0\u2009\u202f'\u2019]", replacement=""
        )
        texts = pc.if_else(spaced, joined, texts)
    return texts


def _speaking(texts: pa.Array, decimal: str, other: str) -> int:
    """Count the texts that can be read with this decimal mark alone."""
    d, t = f"\\{decimal}", f"\\{other}"
    fraction = rf"^[+-]?\d*{d}\d+([eE][+-]?\d+)?$"
    either = rf"^[+-]?[1-9]\d{{0,2}}{d}\d{{3}}$"
    thousands = rf"^[+-]?[1-9]\d{{0,2}}({t}\d{{3}})+{d}\d*$|^[+-]?[1-9]\d{{0,2}}({t}\d{{3}}){{2,}}$"
    sure = pc.and_not(
        pc.match_substring_regex(texts, pattern=fraction),
        pc.match_substring_regex(texts, pattern=either),
    )
    sure = pc.or_(sure, pc.match_substring_regex(texts, pattern=thousands))
    return int(pc.sum(sure, min_count=0).as_py())


def _with_point(texts: pa.Array, decimal: Decimal) -> pa.Array:
    """Strip marks between thousands, and write a point as the decimal mark.

    Where most texts speak for the other mark, ``1,500`` is not taken for fifteen hundred.
    """
    other: Decimal = "." if decimal == "," else ","
    d, t = f"\\{decimal}", f"\\{other}"
    grouped = pc.match_substring_regex(
        texts, pattern=rf"^[+-]?[1-9]\d{{0,2}}({t}\d{{3}})+({d}\d*)?$"
    )
    if _speaking(texts, decimal, other) < _speaking(texts, other, decimal):
        grouped = pa.array(np.zeros(len(texts), dtype=bool))
    joined = pc.replace_substring(texts, pattern=other, replacement="")
    texts = pc.if_else(grouped, joined, texts)
    if decimal == ".":
        return texts
    pointed = pc.replace_substring(texts, pattern=",", replacement=".")
    left = pc.match_substring(texts, pattern=".")  # a point that parts no thousands: no number
    return pc.if_else(left, "", pointed)
