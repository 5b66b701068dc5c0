"""Networks between networks: parameters of fits of one start, interpolated.

Source: Rame et al., Rewarded soups: towards Pareto-optimal alignment by interpolating weights
fine-tuned on diverse rewards, NeurIPS 2023.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from pareto_rec.core.seeds import generator
from pareto_rec.search.variables import Floats
from pareto_rec.training.data import Fit
from pareto_rec.training.fit_store import code_hash


def preferences(losses: int, count: int, seed: int) -> list[tuple[float, ...]]:
    """Return shares of the losses: every corner, the centre, then draws that are even on them.

    Args:
        losses: How many.
        count: Of preferences; at least one more than losses.
        seed: Of the draws.

    Source: Dirichlet(1, ..., 1) is the uniform distribution on the simplex.
    """
    corners = [tuple(row) for row in np.eye(losses).tolist()]
    centre = (1.0 / losses,) * losses
    rng = generator(seed, "preferences that are asked")
    drawn = rng.dirichlet(np.ones(losses), size=max(0, count - losses - 1)).tolist()
    return [*corners, centre, *(tuple(row) for row in drawn)][:count]


def interpolated(fits: Sequence[Fit], shares: Sequence[float], weights: Mapping[str, float]) -> Fit:
    """Return the fit whose parameters are the weighted means of those of others.

    Args:
        fits: Of one start, one shape, and one temperature.
        shares: Weights of the fits, summing to 1.
        weights: Loss weights that it is said to be trained with.

    Raises:
        ValueError: If the fits have other shapes or temperatures, or the shares do not sum to 1.
    """
    first = fits[0]
    if abs(sum(shares) - 1.0) > 1e-6 or len(shares) != len(fits):
        raise ValueError(f"{len(fits)} fits need as many shares that sum to 1: {list(shares)}")
    if any(
        (fit.shape, fit.spec.temperature) != (first.shape, first.spec.temperature) for fit in fits
    ):
        raise ValueError("fits of several shapes or temperatures have nothing in between")
    params = {
        name: torch.stack(
            [share * fit.params[name] for fit, share in zip(fits, shares, strict=True)]
        ).sum(0)
        for name in first.params
    }
    spec = replace(first.spec, loss_weights=dict(weights))
    return Fit(spec, first.shape, params, (), 0, 0.0)


def own_id(kind: str, ids: Sequence[str], shares: Sequence[float] | Floats) -> str:
    """Return the id of a fit that was made from others, as a store names it.

    Args:
        kind: How it was made.
        ids: Of the others.
        shares: With which it was made.
    """
    content = [kind, list(ids), [float(share) for share in shares], code_hash()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
