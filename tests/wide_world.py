"""A catalogue in which most items are met by nobody, and a spec that touches few."""

from __future__ import annotations

import dataclasses

import numpy as np
from toy_learning import mean_reciprocal_rank, next_item_stage, train_data

from pareto_rec.data.schema import Stage
from pareto_rec.training.spec import TrainSpec

STAGE = next_item_stage()
SPEC = TrainSpec(
    width=8,
    history=6,
    heads=2,
    batch=8,
    horizon=1,
    negatives=24,
    steps=1,
    check_every=1,
    learning_rate=0.05,
    dropout=0.0,
    item_dropout=0.0,
    loss_weights={"sampled_softmax": 0.7, "liked": 0.3},
)


def wide(items: int) -> Stage:
    """The same rows in a larger catalogue, in which most items are met by nobody."""
    repeats = -(-items // len(STAGE.items))
    catalogue = dataclasses.replace(
        STAGE.items,
        ids=(STAGE.items.ids * repeats)[:items],
        titles=(STAGE.items.titles * repeats)[:items],
        texts=(STAGE.items.texts * repeats)[:items],
        categories=np.tile(STAGE.items.categories, (repeats, 1))[:items],
    )
    return dataclasses.replace(STAGE, items=catalogue)


WIDE = wide(300)
DATA = train_data(WIDE)
MONITOR = mean_reciprocal_rank(WIDE)
