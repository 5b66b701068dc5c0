"""Aggregation of several losses into one direction of descent."""

from pareto_rec.core.registry import Registry
from pareto_rec.losses.aggregation.base import AggregationStep, Aggregator, State
from pareto_rec.losses.aggregation.gradients import (
    MGDA,
    CAGrad,
    NashMTL,
    PCGrad,
    UPGrad,
)
from pareto_rec.losses.aggregation.values import (
    DynamicWeightAveraging,
    EpsilonConstraint,
    SmoothChebyshev,
    UncertaintyWeighting,
    WeightedChebyshev,
    WeightedSum,
)

AGGREGATORS: Registry[Aggregator] = Registry(
    "loss aggregation",
    {
        way.name: way
        for way in (
            WeightedSum(),
            WeightedChebyshev(),
            SmoothChebyshev(),
            EpsilonConstraint(),
            DynamicWeightAveraging(),
            UncertaintyWeighting(),
            MGDA(),
            PCGrad(),
            CAGrad(),
            NashMTL(),
            UPGrad(),
        )
    },
)

__all__ = ["AGGREGATORS", "AggregationStep", "Aggregator", "State"]
