"""Regularisers: losses that compare groups, or keep lists near a taste or a policy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pareto_rec.losses.base import Loss, LossInputs

_TINY = 1e-30


class GroupGap(Loss):
    """Largest difference between the mean accuracy losses of two groups of users.

    ``max_g a_g - min_g a_g``, where ``a_g`` is the mean over the rows of group g of the
    cross-entropy over the whole catalogue: user-oriented group fairness of Li et al. (WWW 2021)
    on a loss instead of a measure, as a penalty. With two groups it is the absolute difference;
    with more it pulls on the two extreme groups alone. Groups that have no row in the step are
    left out; users of unknown group count for none.

    It may fall because the better-off group is served worse, and between small groups most of it
    is noise of the step.
    """

    name = "group_gap"
    needs = frozenset({"group"})

    def unit(self, n_items: int) -> float:
        """Return ``log N``, the cross-entropy of a uniform prediction: the gap starts near 0."""
        return math.log(n_items)

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in nats; 0 with fewer than two groups."""
        group = inputs.part("group")
        rows = inputs.row_losses
        count = group.sum(1)
        mean = torch.einsum("pr,prg->pg", rows, group) / count.clamp(min=1)
        present = count > 0
        highest = mean.masked_fill(~present, -math.inf).amax(-1)
        lowest = mean.masked_fill(~present, math.inf).amin(-1)
        return torch.where(present.sum(-1) > 1, highest - lowest, 0.0)


class Calibration(Loss):
    """Divergence of the predicted categories from those of the user's history.

    ``sum_c t_c log(t_c / ((1 - a) q_c + a t_c))`` with a = .01 (Steck, RecSys 2018, eq. 4 and 5):
    t are the category shares of the user's training rows, q those expected under the predicted
    distribution, where an item spreads its probability evenly over its categories; that of items
    without categories matches nothing, as in the objective of this name. At most ``-log a``. Rows
    of users without categories are left out.

    It rewards more of the same, against novelty and diversity.
    """

    name = "calibration"
    distribution = True
    needs = frozenset({"taste"})
    alpha = 0.01

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in nats."""
        taste, unit = inputs.part("taste"), inputs.items.categories
        shares = unit / unit.sum(-1, keepdim=True).clamp(min=_TINY)
        given = torch.matmul(inputs.probs, shares)
        mixed = (1 - self.alpha) * given + self.alpha * taste
        ratio = taste.clamp(min=_TINY).log() - mixed.clamp(min=_TINY).log()
        known = (taste.sum(-1) > 0).to(taste.dtype)
        divergence = (taste * ratio).sum(-1)
        return (divergence * known).sum(-1) / known.sum(-1).clamp(min=1)


class ReferenceKL(Loss):
    """Divergence of the predicted distribution from a fixed policy: ``sum_i p_i log(p_i / r_i)``.

    The penalty that keeps a policy near the one it started from (Jaques et al., ICML 2017; Ziegler
    et al. 2019, eq. 2). The reference r is the smoothed popularity unless the training variable
    ``reference`` names scores, whose softmax it then is: an expert, or a name of the config's table
    ``[references]``, which stands for the most accurate fit of a finished run on the same data.
    This direction forbids what the reference never does; it does not ask for all that the
    reference does.
    """

    name = "reference_kl"
    distribution = True
    needs = frozenset({"reference"})

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in nats."""
        reference = inputs.reference
        if reference is None:
            reference = inputs.items.log_frequency
        return (inputs.probs * (inputs.log_probs - reference)).sum(-1).mean(-1)
