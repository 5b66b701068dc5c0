"""Identity of rows: which data these are, whatever a config calls them or reads beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.schema import Interactions

Keys = NDArray[np.uint64]

SKETCH = 32  # keys that are kept; the standard error of an overlap of one half is .09


@dataclass(frozen=True)
class RowsIdentity:
    """Identity of rows of a log by user, item and time, in any order.

    Signals, texts and the other columns do not count: the same rows read for another purpose are
    the same rows.

    Attributes:
        sha256: Of all rows.
        rows: How many there are.
        sketch: The smallest keys of distinct rows, ascending, each as 16 hexadecimal digits.
    """

    sha256: str
    rows: int
    sketch: tuple[str, ...]

    @classmethod
    def of(cls, rows: Interactions, users: Sequence[str], items: Sequence[str]) -> RowsIdentity:
        """The identity of some rows.

        Args:
            rows: The rows.
            users: Original id of every user.
            items: Original id of every item.
        """
        keys = _mixed(_keys_of(users)[rows.user])
        keys = _mixed(keys ^ _keys_of(items)[rows.item])
        keys = np.sort(_mixed(keys ^ rows.time.astype(np.uint64)))
        smallest = np.unique(keys)[:SKETCH]
        digest = hashlib.sha256(keys.astype("<u8").tobytes()).hexdigest()
        return cls(digest, len(rows), tuple(f"{int(key):016x}" for key in smallest))


def _keys_of(ids: Sequence[str]) -> Keys:
    """Return a key of 64 bits for each id ``[ids]``."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _mixed(keys: Keys) -> Keys:
    """Return keys whose bits depend on all bits (the finaliser of splitmix64, Steele 2014)."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(keys ^ (keys >> np.uint64(31)), dtype=np.uint64)
