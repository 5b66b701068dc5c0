"""Events of a log as signals: every distinct name in the event column, in any spelling."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pareto_rec.data.table.chunks import chunks
from pareto_rec.data.table.files import File
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.values import coded, indices

MOST_EVENTS = 200  # different names, above which a column does not hold events
MOST_SIGNALS = 24  # that are drafted; the others are named with their counts

# From the strongest sign of interest to the weakest.
_STRENGTH = (
    ("purchase", "purchased", "buy", "bought", "order", "ordered", "orders", "transaction",
     "checkout", "sale", "paid", "payment", "convert", "conversion", "booking", "kauf",
     "gekauft", "bestellung", "achat", "compra", "покупка", "заказ", "購入", "购买"),
    ("rent", "subscribe", "install", "download", "play", "played", "listen", "watch", "complete",
     "completed", "read", "review", "rate", "rated", "share", "recommend"),
    ("cart", "basket", "carts", "addtocart", "warenkorb", "panier", "carrito", "корзина",
     "like", "liked", "favorite", "favourite", "fav", "bookmark", "save", "wishlist", "follow"),
    ("click", "clicks", "clicked", "open", "klick", "clic", "клик"),
    ("view", "viewed", "views", "pageview", "detail", "visit", "pv", "see", "seen", "ansicht",
     "vue", "vista", "просмотр", "浏览"),
    ("impression", "impressions", "show", "shown", "display"),
)  # fmt: skip
_AGAINST = {"return", "returned", "refund", "refunded", "cancel", "cancelled", "canceled",
            "dislike", "disliked", "remove", "removed", "unlike", "unfollow", "hide", "report",
            "delete", "retoure", "storno", "возврат", "отмена"}  # fmt: skip


def parts_of(event: str) -> list[str]:
    """Split an event's name into words, in small letters."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", event)
    return [word for word in re.split(r"[\W_]+", parted.casefold()) if word]


def strength(event: str) -> int:
    """Rank an event as a sign of interest: 0 is the strongest; unknown ones are in the middle."""
    words = parts_of(event)
    ranks = [rank for rank, known in enumerate(_STRENGTH) if set(words) & set(known)]
    ranks += [rank for rank, known in enumerate(_STRENGTH) if "".join(words) in known]
    return min(ranks) if ranks else 3


def known_event(event: str) -> bool:
    """Return whether a text is the name of an event, independent of its column's name."""
    words = set(parts_of(event))
    return speaks_against(event) or any(words & set(known) for known in _STRENGTH)


def speaks_against(event: str) -> bool:
    """Return whether an event speaks against its item."""
    return bool(set(parts_of(event)) & _AGAINST)


def event_counts(files: Sequence[File], column: str, options: TableOptions) -> Counter[str]:
    """Count the rows of every event in all files.

    Raises:
        BadRequestError: If a file cannot be read.
    """
    counts: Counter[str] = Counter()
    for file in files:
        for chunk in chunks(file, options, [column]):
            counts.update(counts_of(coded(chunk.table.column(column), options.missing)))
    return counts


def counts_of(events: pa.DictionaryArray) -> dict[str, int]:
    """Count the rows of every event in a coded column; missing values do not count."""
    codes = indices(events)
    rows = np.bincount(codes[codes >= 0], minlength=len(events.dictionary))
    names = events.dictionary.to_pylist()
    return {name: int(n) for name, n in zip(names, rows, strict=True) if n}


def spellings(counts: Counter[str]) -> list[list[str]]:
    """Group events that differ in case, blanks or marks alone, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for name, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        groups.setdefault("".join(parts_of(name)) or name, []).append(name)
    rows = {key: sum(counts[name] for name in names) for key, names in groups.items()}
    return [groups[key] for key in sorted(groups, key=lambda key: (-rows[key], key))]
