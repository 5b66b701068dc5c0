"""Confirmation of a front: fresh seeds, opponents of equal effort, and test data, once."""

from __future__ import annotations

from pareto_rec.analysis.confirm.confirm import confirm_run, confirm_runs

__all__ = ["confirm_run", "confirm_runs"]
