"""Row filter: which rows of a chunk are still used, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.chunks import Chunk, shown
from pareto_rec.data.table.options import Rule
from pareto_rec.data.table.row_audit import BadRow, RowAudit
from pareto_rec.data.table.rules import Reader
from pareto_rec.data.table.values import Mask

EXAMPLES = 20  # unreadable values of a piece that are looked at for different ones


class RowFilter:
    """Which rows of a chunk are still used, and what is wrong with the others."""

    def __init__(self, chunk: Chunk, size: int) -> None:
        self.chunk = chunk
        self.used = np.ones(size, dtype=bool)
        self._bad: list[tuple[IntArray, list[str]]] = []
        self._lost: dict[str, tuple[Mask, Mask]] = {}

    def drop(self, which: Mask) -> int:
        """Leave rows out; return how many of them were still used."""
        gone = self.used & which
        self.used = self.used & ~which
        return int(gone.sum())

    def drop_by(self, rules: Sequence[Rule], reader: Reader, account: RowAudit) -> None:
        """Leave out the rows for which any of some rules holds, and count them by rule."""
        for rule in rules:
            passed, bad = reader.test(rule)
            if bad.any():
                self.lose(bad, ~reader.unknown(rule.column), rule.column)
            account.drop(rule.description(), self.drop(passed), self.chunk.file)

    def refuse(self, which: Mask, column: str, what: str) -> None:
        """Leave rows out as bad ones for a missing value in a column."""
        self._refuse(which, lambda where: [f"{what} in {column}"] * len(where))

    def refuse_value(self, which: Mask, column: str, what: str) -> None:
        """Leave rows out as bad ones for the value in a column, which is shown."""
        self._refuse(
            which,
            lambda where: [f"{column} {what}: {text!r}" for text in self._texts(column, where)],
        )

    def _refuse(self, which: Mask, messages: Callable[[IntArray], list[str]]) -> None:
        where = np.flatnonzero(self.used & which)
        if len(where):
            self._bad.append((where, messages(where)))
            self.used = self.used & ~which

    def _texts(self, column: str, where: IntArray) -> list[str]:
        return [text[:60] for text in shown(self.chunk.table.column(column).take(pa.array(where)))]

    def lose(self, unreadable: Mask, filled: Mask, column: str) -> None:
        """Use rows without their unreadable value in a column.

        Args:
            unreadable: Which rows.
            filled: Rows in which anything stands.
            column: Where.
        """
        before, known = self._lost.get(column, (unreadable, filled))
        self._lost[column] = (before | unreadable, known | filled)

    def bad_rows(self) -> list[BadRow]:
        """Return the bad rows in the order of their lines."""
        rows = [row for where, messages in self._bad for row in self.chunk.rows(where, messages)]
        return sorted(rows, key=lambda row: row.line)

    def report_losses(self, account: RowAudit) -> None:
        """Report the values that the used rows go without."""
        for column, (unreadable, filled) in self._lost.items():
            where = np.flatnonzero(unreadable & self.used)
            texts = self._texts(column, where[:EXAMPLES])
            account.lose(column, texts, len(where), int((filled & self.used).sum()))
