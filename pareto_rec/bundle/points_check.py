"""Operating points of a bundle, held against the scorers that it has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pareto_rec.bundle.data import BundleData, PointAbout
from pareto_rec.bundle.tensors import LARGEST
from pareto_rec.core.errors import BadRequestError, construct
from pareto_rec.ranking import NETWORK, ServingParams
from pareto_rec.tasks import RELEVANCE


def check_points(parts: BundleData) -> None:
    """Refuse serving variables with which no list could be made.

    Raises:
        BadRequestError: Names the point and the variable.
    """
    ids = [point.id for point in parts.about.points]
    if len(set(ids)) < len(ids):
        raise BadRequestError("points: an id comes twice")
    for number, point in enumerate(parts.about.points):
        for variable, reason in _faults(parts, point):
            raise BadRequestError(f"points.{number}.serving: {variable} {reason}")


def _faults(parts: BundleData, point: PointAbout) -> Iterator[tuple[str, str]]:
    """Yield variable and fault of everything that is wrong."""
    serving = construct("serving variable", ServingParams, point.serving)
    for name in ("popularity_penalty", "mmr"):
        if not _number(getattr(serving, name)):
            yield name, "is not a number"
    if _number(serving.mmr) and not 0 <= serving.mmr <= 1:
        yield "mmr", "is not within 0 and 1"
    if type(serving.depth) is not int or serving.depth < 1:
        yield "depth", "is not a number of items"
    if not _numbers(serving.fusion) or min(serving.fusion.values(), default=0) < 0:
        yield "fusion", "is not a table of weights"
        return
    if not sum(serving.fusion.values()) > 0:
        yield "fusion", "gives no scorer a weight"
    fits = {name: parts.fits[name] for name in point.members if name in parts.fits}
    known = {*parts.experts, *fits, *([NETWORK] if len(fits) == 1 else [])}
    for name, weight in serving.fusion.items():
        if weight > 0 and name not in known:
            yield "fusion", f'names the scorer "{name}", which the bundle does not hold'
    tasks = {RELEVANCE, *(task for fit in fits.values() for task in fit.shape.tasks)}
    if not _numbers(serving.boosts):
        yield "boosts", "is not a table of numbers"
    if not _numbers(serving.exponents):
        yield "exponents", "is not a table of numbers"
    elif fits and any(power and task not in tasks for task, power in serving.exponents.items()):
        yield "exponents", "names a task that the network was not trained on"


def _number(value: Any) -> bool:  # Any: JSON
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= LARGEST


def _numbers(values: Any) -> bool:  # Any: JSON
    return isinstance(values, Mapping) and all(map(_number, values.values()))
