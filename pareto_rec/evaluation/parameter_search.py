"""Search for the parameters of a baseline: a fixed sequence of settings, the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from pareto_rec.baselines.parameters import Parameter, Value

ALONG = 5  # values of each parameter that needs no fit, tried beside the defaults
SPREAD = 0.5  # share of the rest that is spread over all ranges, before the best is refined
EACH = 4  # settings that are spread for each parameter at most
STEP = 0.15  # first step of the refinement, as a share of a range
FINEST = 0.03  # step below which it ends

Setting = Mapping[str, Value]


@dataclass(frozen=True)
class Search:
    """What was found.

    Attributes:
        best: The setting of the best value; the earliest of equals.
        value: Its value.
        start_value: Value of the setting that the search began with.
        tried: Settings that were tried.
        cut_short: Whether time ran out before the search was over.
    """

    best: Setting
    value: float
    start_value: float
    tried: int
    cut_short: bool


def search_parameters(
    parameters: Mapping[str, Parameter],
    start: Setting,
    value_of: Callable[[Setting], float],
    *,
    settings: int,
    cheap: Collection[str] = (),
    out_of_time: Callable[[], bool] = lambda: False,
    seed: int = 0,
) -> Search:
    """Find the setting of the largest value among at most so many.

    In this order: the start; each cheap parameter alone, along its range; a scrambled Sobol
    sequence over all ranges; then steps from the best setting along one parameter at a time, the
    cheap ones first, halved whenever none of them is better (a pattern search).

    Args:
        parameters: Ranges; without any, the start alone is tried.
        start: Value of each of them.
        value_of: What a setting is worth; larger is better, NaN is worst.
        settings: Most settings that are tried, at least 1.
        cheap: Parameters of which another value costs little.
        out_of_time: Asked before each setting after the first.
        seed: Scrambles the sequence.

    Source: Sobol', On the distribution of points in a cube, 1967; Hooke and Jeeves, Direct search
    solution of numerical and statistical problems, JACM 1961.
    """
    names = sorted(parameters, key=lambda name: (name not in cheap, name))
    tried: dict[tuple[Value, ...], float] = {}
    state = {"cut": False}

    def worth(setting: Setting) -> float:
        """Return the value of a setting, or minus infinity where no more may be tried."""
        key = tuple(setting[name] for name in names)
        if key not in tried:
            if len(tried) >= settings:
                return -math.inf
            if tried and (state["cut"] or out_of_time()):
                state["cut"] = True
                return -math.inf
            value = value_of(setting)
            tried[key] = value if math.isfinite(value) else -math.inf
        return tried[key]

    best = {name: start[name] for name in names}
    start_value = value = worth(best)
    rest = settings - 1 - ALONG * sum(name in cheap for name in names)
    count = min(max(0, round(SPREAD * rest)), EACH * len(names))
    spread = _spread(parameters, names, count, seed)
    for setting in (*_along(parameters, best, [n for n in names if n in cheap]), *spread):
        found = worth(setting)
        if found > value:
            best, value = dict(setting), found
    step = STEP
    while names and step >= FINEST and len(tried) < settings and not state["cut"]:
        for setting in _steps(parameters, best, names, step):
            found = worth(setting)
            if found > value:
                best, value = dict(setting), found
                break
        else:
            step /= 2
    return Search(best, value, start_value, len(tried), state["cut"])


def _along(
    parameters: Mapping[str, Parameter], start: Setting, names: Collection[str]
) -> Iterator[Setting]:
    for name in names:
        for share in np.linspace(0.0, 1.0, ALONG + 2)[1:-1].tolist():
            yield {**start, name: parameters[name].at(share)}


def _spread(
    parameters: Mapping[str, Parameter], names: list[str], count: int, seed: int
) -> list[Setting]:
    """Return the first points of a scrambled Sobol sequence as settings."""
    if not count:
        return []
    points = qmc.Sobol(len(names), seed=np.random.default_rng(seed)).random_base2(
        math.ceil(math.log2(count)) if count > 1 else 0
    )
    return [
        {name: parameters[name].at(float(share)) for name, share in zip(names, point, strict=True)}
        for point in points[:count]
    ]


def _steps(
    parameters: Mapping[str, Parameter], best: Setting, names: list[str], step: float
) -> Iterator[Setting]:
    for name in names:
        share = parameters[name].share(best[name])
        for sign in (1, -1):
            moved = parameters[name].at(share + sign * step)
            if moved != best[name]:
                yield {**best, name: moved}
