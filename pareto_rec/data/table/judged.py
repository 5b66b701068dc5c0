"""Which rows of a piece of a log are still used, and what is wrong with the others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.account import BadRow
from pareto_rec.data.table.chunks import Chunk, shown
from pareto_rec.data.table.rules import Reader
from pareto_rec.data.table.values import Mask


class Judged:
    """Which rows of a chunk are still used, and what is wrong with the others."""

    def __init__(self, chunk: Chunk, size: int) -> None:
        self.chunk = chunk
        self.used = np.ones(size, dtype=bool)
        self._bad: list[tuple[IntArray, list[str]]] = []

    def drop(self, which: Mask) -> int:
        """Leave rows out; how many of them were still used."""
        gone = self.used & which
        self.used = self.used & ~which
        return int(gone.sum())

    def refuse(
        self, which: Mask, column: str | None, what: str, reader: Reader | None = None
    ) -> None:
        """Leave rows out as bad ones; `reader` shows what stands there."""
        where = np.flatnonzero(self.used & which)
        if not len(where):
            return
        if reader is None:
            said = [f"{what} in {column}"] * len(where)
        else:
            texts = shown(reader.table.column(column).take(pa.array(where)))
            said = [f"{column} {what}: {text[:60]!r}" for text in texts]
        self._bad.append((where, said))
        self.used = self.used & ~which

    def bad_rows(self) -> list[BadRow]:
        """The bad rows in the order of their lines."""
        rows = [row for where, said in self._bad for row in self.chunk.rows(where, said)]
        return sorted(rows, key=lambda row: row.line)
