"""Fixtures of several modules."""

from __future__ import annotations

from tuned_world import cache, data, folder, stage

__all__ = [
    "cache",
    "data",
    "folder",
    "stage",
]
