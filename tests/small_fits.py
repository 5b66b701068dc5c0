"""Training data of the toy world, and specs of small fits."""

from __future__ import annotations

from typing import Any

from toy_learning import mean_reciprocal_rank, next_item_stage, train_data

from pareto_rec.models import MODELS
from pareto_rec.training.spec import TrainSpec

STAGE = next_item_stage()
DATA = train_data(STAGE)
MONITOR = mean_reciprocal_rank(STAGE)
NAMES = list(MODELS)
SMALL: dict[str, Any] = {
    "width": 8,
    "history": 6,
    "layers": 1,
    "heads": 2,
    "steps": 12,
    "batch": 16,
    "horizon": 2,
    "negatives": 5,
    "check_every": 5,
    "learning_rate": 0.01,
}


def spec_of(model: str, **changes: Any) -> TrainSpec:
    return TrainSpec(model=model, **{**SMALL, **changes})
