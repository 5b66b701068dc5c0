"""What training and serving variables may be."""

from pareto_rec.experiment.limits.checks import check_rungs, check_smoke, check_variables
from pareto_rec.experiment.limits.kinds import (
    Limit,
    Name,
    Number,
    Numbers,
    Weights,
    Word,
)
from pareto_rec.experiment.limits.tables import SERVE, TRAIN

__all__ = [
    "SERVE",
    "TRAIN",
    "Limit",
    "Name",
    "Number",
    "Numbers",
    "Weights",
    "Word",
    "check_rungs",
    "check_smoke",
    "check_variables",
]
