"""Item features on principal components, and facts about items for losses and serving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.objectives import Catalogue
from pareto_rec.objectives.gains import gain_of

BLOCK = 100_000  # rows of features that are worked on in double precision at a time

Facts = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Projection:
    """Onto the leading principal components of some features, scaled to a deviation of 1.

    Attributes:
        mean: Of the features it was made from ``[F]``.
        basis: Components ``[F, C]``; None to keep all features unrotated.
        scale: Deviation of all projected features together.
    """

    mean: NDArray[np.float64]
    basis: NDArray[np.float64] | None
    scale: float

    @classmethod
    def of(cls, features: NDArray[np.floating[Any]], count: int) -> Projection:
        """Return the projection of features ``[N, F]`` onto `count` components; 0: all, unrotated.

        Each component points to where its largest loading is positive, so that it does not depend
        on the solver.
        """
        if len(features) > BLOCK:
            return cls._in_blocks(features, count)
        centred = np.asarray(features, dtype=np.float64)
        mean, basis = centred.mean(axis=0), None
        centred = centred - mean
        if 0 < count < centred.shape[1]:
            basis = _leading(centred.T @ centred, count)
            centred = centred @ basis
        return cls(mean, basis, max(float(centred.std()), 1e-9))

    @classmethod
    def _in_blocks(cls, features: NDArray[np.floating[Any]], count: int) -> Projection:
        """Project a block of rows at a time, so that no copy in double precision is made."""
        rows, width = features.shape
        blocks = [slice(begin, begin + BLOCK) for begin in range(0, rows, BLOCK)]
        total = np.zeros(width)
        for block in blocks:
            total += features[block].sum(axis=0, dtype=np.float64)
        mean, scatter = total / rows, np.zeros((width, width))
        for block in blocks:
            centred = features[block].astype(np.float64) - mean
            scatter += centred.T @ centred
        basis = _leading(scatter, count) if 0 < count < width else None
        turned = scatter if basis is None else basis.T @ scatter @ basis
        # columns have mean 0: the sum of squares of all projected features is the trace
        variance = float(np.trace(turned)) / (rows * len(turned))
        return cls(mean, basis, max(variance**0.5, 1e-9))

    def __call__(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return features ``[N, F]`` as models read them ``[N, C]``."""
        if len(features) > BLOCK:
            starts = range(0, len(features), BLOCK)
            return np.concatenate([self(features[start : start + BLOCK]) for start in starts])
        centred = np.asarray(features, dtype=np.float64) - self.mean
        if self.basis is not None:
            centred = centred @ self.basis
        return np.asarray(centred / self.scale, dtype=np.float32)


def _leading(scatter: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return leading components ``[F, count]`` of a scatter matrix, each with its sign fixed."""
    _, vectors = np.linalg.eigh(scatter)
    leading = vectors[:, ::-1][:, :count]
    largest = np.abs(leading).argmax(axis=0)
    return np.asarray(leading * np.sign(leading[largest, np.arange(count)]))


def principal_components(features: NDArray[np.floating[Any]], count: int) -> NDArray[np.float32]:
    """Project features ``[N, F]`` onto their leading principal components, deviation 1 over all.

    Args:
        features: One row per item.
        count: Number of components; 0, or more than there are, keeps them all unrotated.

    Returns:
        ``[N, min(count, F)]`` with mean 0 per column.
    """
    return Projection.of(features, count)(features)


def log_popularity(counts: NDArray[Any]) -> NDArray[np.float32]:
    """Scale ``log1p`` popularity ``[N]``, from training rows per item, by its largest value."""
    largest = max(float(np.log1p(counts.max(initial=0))), 1e-9)
    return np.asarray(np.log1p(counts) / largest, dtype=np.float32)


def item_facts(catalogue: Catalogue) -> Facts:
    """Return facts that losses and the serving policy use.

    Returns:
        Category vectors of length one ``[N, C]``; ``log1p`` popularity divided by its largest value
        ``[N]``; log of the share of training rows, smoothed by a power of .75 as word2vec draws its
        negatives (Mikolov et al., NIPS 2013) ``[N]``.
    """
    counts = catalogue.popularity
    smoothed = (counts + 1.0) ** 0.75
    return (
        catalogue.unit_categories.astype(np.float32),
        log_popularity(counts),
        np.log(smoothed / smoothed.sum()).astype(np.float32),
    )


def gains_of(catalogue: Catalogue, names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Return what losses weigh targets by: gain -> what a hit on each item is worth ``[N]``.

    None is below 0, those that are not known are 0, and the mean over the training rows is 1.

    Args:
        catalogue: The items.
        names: Gains, as `objectives.gains.gain_of` takes them.

    Raises:
        BadRequestError: If there is no such gain, the data does not have it, or no training row has
            any of it.
    """
    gains = {}
    for name in names:
        try:
            worth = np.maximum(np.nan_to_num(gain_of(catalogue, name)), 0.0)
        except BadRequestError as error:
            raise BadRequestError(f'a loss weighs by the gain "{name}": {error}') from None
        rows = catalogue.popularity
        mean = float(worth @ rows) / max(int(rows.sum()), 1)
        if mean == 0:
            raise BadRequestError(
                f'a loss weighs by the gain "{name}", and no training row has any of it: remove '
                "the loss"
            )
        gains[name] = np.asarray(worth / mean, dtype=np.float32)
    return gains
