"""Losses on the predicted distribution: entropy, similarity, popularity, exposure."""

from __future__ import annotations

import math

from torch import Tensor

from pareto_rec.losses.base import Loss, LossInputs


class NegativeEntropy(Loss):
    """Negative entropy of the predicted distribution, ``sum_i p_i log p_i``, mean over rows.

    Confidence penalty of Pereyra et al. (ICLR workshop 2017); its smallest value is ``-log N``.
    """

    name = "negative_entropy"
    distribution = True
    figure = True

    def lower_bound(self, n_items: int) -> float:
        """Return ``-log N``: the uniform distribution."""
        return -math.log(n_items)

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in nats."""
        return inputs.figures.negative_entropy.mean(-1)


class Similarity(Loss):
    """Expected similarity of two different items drawn from the predicted distribution.

    ``sum_{i != j} p_i p_j cos(c_i, c_j)``: the expectation form of intra-list similarity (Ziegler
    et al., WWW 2005), by ``||p C||^2 - sum_i p_i^2 ||c_i||^2``. An item without categories is like
    every other (similarity 1), as in the objective ``ild``; where no item has any, the value is 0.
    """

    name = "similarity"
    distribution = True
    figure = True

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, a mean cosine."""
        return inputs.figures.similarity.mean(-1)


class Popularity(Loss):
    """Expected popularity of an item drawn from the predicted distribution.

    ``sum_i p_i log1p(n_i) / max_j log1p(n_j)``: one minus the expected popularity complement of
    Vargas & Castells (RecSys 2011) on a log scale.
    """

    name = "popularity"
    distribution = True
    figure = True

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in [0, 1]."""
        return inputs.figures.popularity.mean(-1)


class Exposure(Loss):
    """Concentration of the exposure that all rows together give to the items.

    ``sum_i m_i^2`` with ``m_i`` the mean over rows of ``p_i``: the index of Herfindahl (1950) and
    Hirschman (1945), whose inverse is the number of items that would share the exposure equally
    (Hill, Ecology 1973, order 2). Unlike the entropy of each row it asks for variety between users:
    each prediction may be confident, of different items. Estimated on a batch of R rows it is too
    large by about ``(mean_r sum_i p_ri^2 - sum_i m_i^2) / R``.
    """

    name = "exposure"
    distribution = True

    def lower_bound(self, n_items: int) -> float:
        """Return ``1 / N``: every item gets the same exposure."""
        return 1.0 / n_items

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in [1 / N, 1]."""
        return inputs.probs.mean(1).square().sum(-1)
