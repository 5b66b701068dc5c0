"""Figures in tables of the README, held against the rows of results/evidence.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from benchmarks.claims import MAIN, Row

_FIGURE = re.compile(r"(?<![\w.,-])(\d{1,3}(?:,\d{3})+|\d*\.\d+)(?!\w|[.,]\d)")
_EXPERIMENT = re.compile(r"\(experiments/(\w+)/README\.md\)")


@dataclass(frozen=True)
class Figure:
    """A figure in a table.

    Attributes:
        experiment: Whose it is.
        text: As it is written.
        row: The row that it stands in.
    """

    experiment: str
    text: str
    row: str

    @property
    def value(self) -> Decimal:
        """Its value, with the decimals that are written."""
        return Decimal(self.text.replace(",", ""))


def figures_of(text: str) -> Iterator[Figure]:
    """Yield decimal fractions and numbers of thousands in tables of the README.

    A row that links to the README of an experiment is about that one, any other row about the main
    experiment. Whole numbers below 1,000 are left out: most of them count points, layers or groups.

    Args:
        text: The README.
    """
    for line in text.splitlines():
        if not line.startswith("|"):
            continue
        named = _EXPERIMENT.search(line)
        for match in _FIGURE.finditer(line):
            yield Figure(named[1] if named else MAIN, match[1], line)


def is_stated(figure: Figure, rows: Mapping[str, Row]) -> bool:
    """Whether a row of evidence about the experiment states the figure, or rounds to it.

    Args:
        figure: The figure.
        rows: Claim -> row of results/evidence.md.
    """
    places = figure.value.as_tuple().exponent
    quantum = Decimal(1).scaleb(int(places))
    stated = (
        Decimal(match[1].replace(",", ""))
        for claim, row in rows.items()
        if claim.startswith(f"{figure.experiment}:")
        for match in _FIGURE.finditer(row.figure)
    )
    return any(abs(value - figure.value) <= quantum / 2 for value in stated)
