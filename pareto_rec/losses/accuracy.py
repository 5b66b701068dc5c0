"""Losses for the ranking task and for the second task."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pareto_rec.losses.base import Loss, LossInputs


class Softmax(Loss):
    """Cross-entropy over the whole catalogue: ``-mean_h log p(target_h)``.

    With several targets it is the cross-entropy to their uniform distribution (the multinomial
    likelihood of Liang et al., WWW 2018, eq. 2, per target).
    """

    name = "softmax"
    accuracy = True

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Value per candidate ``[P]``, in nats."""
        return inputs.mean_over_targets(-torch.gather(inputs.log_probs, 2, inputs.targets))


class SampledSoftmax(Loss):
    """Cross-entropy against sampled negatives, corrected for how often they are drawn.

    Logits are lowered by ``log q`` of the sampling distribution (Bengio & Senecal, IEEE TNN 2008;
    for recommenders Yi et al., RecSys 2019, eq. 4). Negatives equal to the target are left out.
    """

    name = "sampled_softmax"
    accuracy = True

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Value per candidate ``[P]``, in nats."""
        pack, rows, width = inputs.states.shape
        flat = inputs.targets.reshape(pack, -1)
        target_vectors = torch.gather(inputs.table, 1, flat.unsqueeze(-1).expand(-1, -1, width))
        target_vectors = target_vectors.view(pack, rows, -1, width)
        correction = inputs.bias - inputs.items.log_frequency
        positive = torch.einsum("prd,prhd->prh", inputs.states, target_vectors)
        positive = positive + torch.gather(correction, 1, flat).view_as(positive)
        index = inputs.negatives.unsqueeze(-1).expand(-1, -1, width)
        negative_vectors = torch.gather(inputs.table, 1, index)
        negative = torch.baddbmm(
            torch.gather(correction, 1, inputs.negatives)[:, None],
            inputs.states,
            negative_vectors.transpose(1, 2),
        )
        same = inputs.targets.unsqueeze(-1) == inputs.negatives[:, None, None]
        others = negative.unsqueeze(2).expand(-1, -1, positive.shape[2], -1)
        others = others.masked_fill(same, float("-inf"))
        everything = torch.cat([positive.unsqueeze(-1), others], dim=-1)
        return inputs.mean_over_targets(torch.logsumexp(everything, dim=-1) - positive)


class Liked(Loss):
    """Binary cross-entropy of the second task on watched items: liked, given watched."""

    name = "liked"

    def __call__(self, inputs: LossInputs, /) -> Tensor:
        """Value per candidate ``[P]``, in nats."""
        values = binary_cross_entropy_with_logits(
            inputs.liked_logits, inputs.liked, reduction="none"
        )
        return inputs.mean_over_targets(values)
