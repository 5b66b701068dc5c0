"""Losses and the ways to combine them."""

from pareto_rec.losses.accuracy import Liked, SampledSoftmax, Softmax
from pareto_rec.losses.base import ItemFacts, Loss, LossInputs
from pareto_rec.losses.beyond_accuracy import NegativeEntropy, Popularity, Similarity
from pareto_rec.losses.combine import COMBINE

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Softmax(),
        SampledSoftmax(),
        Liked(),
        NegativeEntropy(),
        Similarity(),
        Popularity(),
    )
}

__all__ = ["COMBINE", "LOSSES", "ItemFacts", "Loss", "LossInputs"]
