"""Losses and their aggregation."""

from pareto_rec.core.registry import Registry
from pareto_rec.losses.accuracy import BPR, SampledSoftmax, Softmax
from pareto_rec.losses.aggregation import AGGREGATORS
from pareto_rec.losses.base import ItemFacts, Loss, LossInputs, TaskRows
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

__all__ = ["AGGREGATORS", "LOSSES", "ItemFacts", "Loss", "LossInputs", "TaskLoss", "TaskRows"]
