"""Bundles: the exported, self-contained, deployable form of operating points.

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pareto_rec.bundle.bundle import Bundle
    from pareto_rec.bundle.data import BundleData, BundleManifest, PointAbout
    from pareto_rec.bundle.store import read_parts, write_bundle
    from pareto_rec.bundle.types import NewItem, Recommendation, Recommended, Request

_PLACES = {
    "BundleManifest": "data",
    "Bundle": "bundle",
    "NewItem": "types",
    "BundleData": "data",
    "PointAbout": "data",
    "Recommendation": "types",
    "Recommended": "types",
    "Request": "types",
    "read_parts": "store",
    "write_bundle": "store",
}

__all__ = [
    "Bundle",
    "BundleData",
    "BundleManifest",
    "NewItem",
    "PointAbout",
    "Recommendation",
    "Recommended",
    "Request",
    "read_parts",
    "write_bundle",
]


def __getattr__(name: str) -> Any:  # what a name stands for differs from name to name
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
