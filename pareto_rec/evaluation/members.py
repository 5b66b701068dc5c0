"""Members of a fusion that are fits: which of them a serving setting draws on, and how much."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from pareto_rec.ranking import ServingParams
from pareto_rec.training.data import Fit

Fits = Mapping[str, Fit]
"""Name in a fusion -> fit; empty for experts alone."""

NO_FITS: Fits = MappingProxyType({})


def fit_shares(fits: Collection[str], setting: ServingParams) -> dict[str, float]:
    """Return the share of each fit in what the networks of a setting say; shares add up to 1.

    A share is the fit's weight in the fusion over the weights of all fits. The one fit that a
    fusion names has the share 1 whatever its weight: a candidate whose network has the weight 0
    was still trained, and what its network predicts is still measured.

    Args:
        fits: Names of the fits that are there.
        setting: Whose fusion.

    Returns:
        Name -> share, of fits with a share above 0; empty where experts serve alone.
    """
    named = {name: weight for name, weight in setting.fusion.items() if name in fits}
    if len(named) == 1:
        return dict.fromkeys(named, 1.0)
    weighed = {name: weight for name, weight in named.items() if weight > 0}
    total = sum(weighed.values())
    return {name: weight / total for name, weight in weighed.items()}
