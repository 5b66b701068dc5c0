"""What every training and serving variable may be."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pareto_rec.backbone.views import PRECISIONS
from pareto_rec.baselines import BASELINES
from pareto_rec.evaluation.training_data import MOST_HISTORY
from pareto_rec.experiment.limits.kinds import (
    Limit,
    Name,
    Number,
    Numbers,
    Weights,
    Word,
)
from pareto_rec.losses import AGGREGATORS, LOSSES
from pareto_rec.models import MODELS
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.ranking import NETWORK
from pareto_rec.tasks import CHAINS
from pareto_rec.training.matmul_dtype import MATMUL_DTYPES
from pareto_rec.training.tuned.layers import METHODS, PROJECTIONS

_STEPS = Number(low=1, high=10_000_000, whole=True)
_ROWS = Number(low=1, high=1_000_000, whole=True)  # or items, or texts, of one step
_SIZE = Number(low=1, high=8192, whole=True)  # of a layer
_LAYERS = Number(low=1, high=256, whole=True)
_SCALE = Number(low=1e-6, high=1e6)  # what something is multiplied or divided by
_POWER = Number(low=-1e3, high=1e3)
_DEPTH = Number(low=1, high=1_000_000_000, whole=True)
_RATE = Number(low=0, high=1e3, open_low=True)
_DECAY = Number(low=0, high=1e3)
_SHARE = Number(low=0, high=1, open_high=True)

TRAIN: Mapping[str, Limit] = MappingProxyType(
    {
        "model": Name("model", MODELS),
        "width": _SIZE,
        "history": Number(low=1, high=MOST_HISTORY, whole=True),
        "layers": _LAYERS,
        "heads": _LAYERS,
        "steps": _STEPS,
        "batch": _ROWS,
        "positions": _SIZE,
        "horizon": _ROWS,
        "regularizer_rows": _ROWS,
        "matmul_dtype": Name("dtype of matrix products", MATMUL_DTYPES),
        "negatives": _ROWS,
        "learning_rate": _RATE,
        "weight_decay": _DECAY,
        "dropout": _SHARE,
        "item_dropout": _SHARE,
        "temperature": _SCALE,
        "aggregation": Name("loss aggregation", AGGREGATORS),
        "loss_weights": Weights("loss", LOSSES),
        "check_every": _STEPS,
        "patience": _STEPS,
        "group": Word("user attribute"),
        "reference": Word("policy"),
        "trunk": Name("trunk", TRUNKS),
        "trunk_experts": _LAYERS,
        "chain": Name("way to learn a chain", CHAINS),
        "task_batch": _ROWS,
        "item_inputs": Name("input of items", ("both", "text", "embedding")),
        "exit_layer": Number(low=0, high=256, whole=True),
        "text_length": Number(low=0, high=512, whole=True),
        "encoder_precision": Name("precision", PRECISIONS),
        "tuned_layers": Number(low=0, high=256, whole=True),
        "tuning": Name("way of tuning", METHODS),
        "lora_rank": _SIZE,
        "lora_alpha": _SCALE,
        "lora_targets": Name("set of projections", PROJECTIONS),
        "lora_dropout": _SHARE,
        "encoder_rate": _RATE,
        "layer_decay": Number(low=0, high=1, open_low=True),
        "encoder_decay": _DECAY,
        "live_texts": _ROWS,
        "refresh_every": _STEPS,
        "accumulate": _STEPS,
        "autocast": Number(low=0, high=1, whole=True),
        "checkpointing": Number(low=0, high=1, whole=True),
    }
)
"""Training variable -> what it may be."""

SERVE: Mapping[str, Limit] = MappingProxyType(
    {
        "fusion": Weights("expert", BASELINES, also=(NETWORK,)),
        "popularity_penalty": _POWER,
        "mmr": Number(low=0, high=1),
        "depth": _DEPTH,
        "exponents": Numbers("task"),
    }
)
"""Serving variable -> what it may be."""
