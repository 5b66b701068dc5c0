"""Shared by all tests; its place also puts this folder's helper modules on the import path."""

from __future__ import annotations

from running_search import endless, start
from tiny_experiment import sources, tiny_cache

__all__ = ["endless", "sources", "start", "tiny_cache"]
