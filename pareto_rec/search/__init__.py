"""Search: asks for candidates, learns from their records."""

from pareto_rec.search.algorithms import ALGORITHMS
from pareto_rec.search.searcher import Searcher, run_search
from pareto_rec.search.types import (
    Failure,
    Goal,
    Progress,
    Pruned,
    Result,
    Scored,
    Settings,
    Trial,
)

__all__ = [
    "ALGORITHMS",
    "Failure",
    "Goal",
    "Progress",
    "Pruned",
    "Result",
    "Scored",
    "Searcher",
    "Settings",
    "Trial",
    "run_search",
]
