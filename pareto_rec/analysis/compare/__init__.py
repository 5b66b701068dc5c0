"""Comparison of finished runs that asked the same question of the same data."""

from __future__ import annotations

from pareto_rec.analysis.compare.compare import compare_runs
from pareto_rec.analysis.compare.picture import save_comparison
from pareto_rec.analysis.compare.words import lines

__all__ = ["compare_runs", "lines", "save_comparison"]
