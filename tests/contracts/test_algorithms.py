"""What every registered search algorithm promises; new ones are found by themselves."""

from __future__ import annotations

from pareto_rec.search import ALGORITHMS
from pareto_rec.testing import AlgorithmContract


class TestAlgorithms(AlgorithmContract):
    subjects = tuple(ALGORITHMS)
