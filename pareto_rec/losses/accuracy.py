"""Losses for the ranking."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pareto_rec.losses.base import CHOSEN, Loss, LossInputs, target_logits


class Softmax(Loss):
    """Cross-entropy over the whole catalogue: ``-mean_h log p(target_h)``.

    With several targets it is the cross-entropy to their uniform distribution (the multinomial
    likelihood of Liang et al., WWW 2018, eq. 2, per target).
    """

    name = "softmax"
    accuracy = True

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in nats."""
        return inputs.row_losses.mean(-1)


class GainSoftmax(Loss):
    """Cross-entropy over the whole catalogue, each target weighted by what a hit on it is worth.

    ``-mean_h g(target_h) log p(target_h)``, where g is the gain that the training variable `gain`
    names, scaled to the mean 1 over the training rows; a gain that is not known, or below 0, counts
    0. Its minimum ranks items by ``p(i | u) g(i)``, which maximises the expected gain of the hits
    (the probability ranking principle with unequal gains: Robertson, Journal of Documentation
    1977): what a boost adds to the scores, learnt.
    """

    name = "gain_softmax"
    accuracy = True
    gain: ClassVar[str] = CHOSEN

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in nats."""
        worth = inputs.items.gains[self.gain].to(inputs.states.dtype)
        return inputs.mean_over_targets(worth[inputs.targets] * inputs.target_losses)


class TailSoftmax(GainSoftmax):
    """`gain_softmax` by 1 outside the head of the catalogue and 0 in it, as in ``tail_ndcg``."""

    name = "tail_softmax"
    gain = "tail"


class NoveltySoftmax(GainSoftmax):
    """`gain_softmax` by the popularity complement of the item, as in the objective ``epc``."""

    name = "novelty_softmax"
    gain = "novelty"


class PriceSoftmax(GainSoftmax):
    """`gain_softmax` by the price of the item, as in ``price_ndcg`` and ``revenue``."""

    name = "price_softmax"
    gain = "price"


class SampledSoftmax(Loss):
    """Cross-entropy against sampled negatives, corrected for how often they are drawn.

    Logits are lowered by ``log q`` of the sampling distribution (Bengio & Senecal, IEEE TNN 2008;
    for recommenders Yi et al., RecSys 2019, eq. 4). Negatives equal to the target are left out.
    """

    name = "sampled_softmax"
    catalogue = False
    accuracy = True

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in nats."""
        positive, negative = _logits(inputs, inputs.bias - inputs.items.log_frequency)
        same = inputs.targets.unsqueeze(-1) == inputs.negatives[:, None, None]
        others = negative.unsqueeze(2).expand(-1, -1, positive.shape[2], -1)
        others = others.masked_fill(same, float("-inf"))
        everything = torch.cat([positive.unsqueeze(-1), others], dim=-1)
        return inputs.mean_over_targets(torch.logsumexp(everything, dim=-1) - positive)


class BPR(Loss):
    """Chance that a target does not outrank an item drawn at random, on a logistic scale.

    ``-mean_h mean_j log sigmoid(s(target_h) - s(j))`` over the drawn items j other than the target:
    BPR-Opt of Rendle et al. (UAI 2009, section 4.1; its regulariser is the optimiser's decay).
    Items are drawn from the smoothed popularity rather than uniformly, so that they are hard.
    """

    name = "bpr"
    catalogue = False
    accuracy = True

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Compute the value per candidate ``[P]``, in nats; 0 if all drawn items are targets."""
        positive, negative = _logits(inputs, inputs.bias)
        other = inputs.targets.unsqueeze(-1) != inputs.negatives[:, None, None]
        values = -logsigmoid(positive.unsqueeze(-1) - negative.unsqueeze(2)) * other
        return inputs.mean_over_targets(values.sum(-1) / other.sum(-1).clamp(min=1))


def _logits(inputs: LossInputs, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Compute logits of targets ``[P, R, H]`` and negatives ``[P, R, S]``, bias included."""
    positive = target_logits(replace(inputs, bias=bias))
    width = inputs.states.shape[-1]
    index = inputs.negatives.unsqueeze(-1).expand(-1, -1, width)
    negative = torch.baddbmm(
        torch.gather(bias, 1, inputs.negatives)[:, None],
        inputs.states,
        torch.gather(inputs.table, 1, index).transpose(1, 2),
    )
    return positive, negative
