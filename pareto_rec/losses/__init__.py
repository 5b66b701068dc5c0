"""Losses and their aggregation."""

from pareto_rec.core.registry import Registry
from pareto_rec.losses.accuracy import (
    BPR,
    GainSoftmax,
    NoveltySoftmax,
    PriceSoftmax,
    SampledSoftmax,
    Softmax,
    TailSoftmax,
)
from pareto_rec.losses.aggregation import AGGREGATORS
from pareto_rec.losses.base import CHOSEN, ItemFacts, Loss, LossInputs, TaskRows
from pareto_rec.losses.beyond_accuracy import Exposure, NegativeEntropy, Popularity, Similarity
from pareto_rec.losses.regularizers import Calibration, GroupGap, ReferenceKL
from pareto_rec.losses.tasks import TaskLoss

LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        loss.name: loss
        for loss in (
            Softmax(),
            SampledSoftmax(),
            BPR(),
            GainSoftmax(),
            TailSoftmax(),
            NoveltySoftmax(),
            PriceSoftmax(),
            NegativeEntropy(),
            Similarity(),
            Popularity(),
            Exposure(),
            GroupGap(),
            Calibration(),
            ReferenceKL(),
        )
    },
)

__all__ = [
    "AGGREGATORS",
    "CHOSEN",
    "LOSSES",
    "ItemFacts",
    "Loss",
    "LossInputs",
    "TaskLoss",
    "TaskRows",
]
