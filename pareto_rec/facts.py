"""What models and losses read of items: features on principal components, and plain facts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.objectives import Catalogue

Facts = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def principal_components(features: NDArray[np.floating[Any]], count: int) -> NDArray[np.float32]:
    """Features ``[N, F]`` on their leading principal components, deviation 1 over all of them.

    Args:
        features: One row per item.
        count: Number of components; 0, or more than there are, keeps them all unrotated.

    Returns:
        ``[N, min(count, F)]`` with mean 0 per column; each component points to where its largest
        loading is positive, so that it does not depend on the solver.
    """
    centred = np.asarray(features, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    if 0 < count < centred.shape[1]:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        leading = vectors[:, ::-1][:, :count]
        largest = np.abs(leading).argmax(axis=0)
        centred = centred @ (leading * np.sign(leading[largest, np.arange(count)]))
    return np.asarray(centred / max(float(centred.std()), 1e-9), dtype=np.float32)


def item_facts(catalogue: Catalogue) -> Facts:
    """Facts that losses and the serving policy use.

    Returns:
        Category vectors of length one ``[N, C]``; ``log1p`` popularity divided by its largest value
        ``[N]``; log of the share of training rows, smoothed by a power of .75 as word2vec draws its
        negatives (Mikolov et al., NIPS 2013) ``[N]``.
    """
    counts = catalogue.popularity
    log_popularity = np.log1p(counts) / max(np.log1p(counts.max(initial=0)), 1e-9)
    smoothed = (counts + 1.0) ** 0.75
    return (
        catalogue.unit_categories.astype(np.float32),
        log_popularity.astype(np.float32),
        np.log(smoothed / smoothed.sum()).astype(np.float32),
    )
