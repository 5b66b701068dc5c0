"""What every training and serving variable may be."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pareto_rec.backbone.views import PRECISIONS
from pareto_rec.evaluate.learning import MOST_HISTORY
from pareto_rec.experts import EXPERTS
from pareto_rec.limits.kinds import Limit, Name, Number, Numbers, Weights, Word
from pareto_rec.losses import COMBINE, LOSSES
from pareto_rec.models import MODELS
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.policy import NETWORK
from pareto_rec.tasks import CHAINS
from pareto_rec.train.products import PRODUCTS
from pareto_rec.train.tuned.layers import METHODS, PROJECTIONS

_COUNT = Number(low=1, whole=True)
_SHARE = Number(low=0, high=1, open_high=True)

TRAIN: Mapping[str, Limit] = MappingProxyType(
    {
        "model": Name("model", MODELS),
        "width": _COUNT,
        "history": Number(low=1, high=MOST_HISTORY, whole=True),
        "layers": _COUNT,
        "heads": _COUNT,
        "steps": _COUNT,
        "batch": _COUNT,
        "places": _COUNT,
        "horizon": _COUNT,
        "shaped": _COUNT,
        "products": Name("numbers of products", PRODUCTS),
        "negatives": _COUNT,
        "learning_rate": Number(low=0, open_low=True),
        "weight_decay": Number(low=0),
        "dropout": _SHARE,
        "item_dropout": _SHARE,
        "temperature": Number(low=0, open_low=True),
        "combine": Name("way to combine losses", COMBINE),
        "loss_weights": Weights("loss", LOSSES),
        "check_every": _COUNT,
        "patience": _COUNT,
        "group": Word("user attribute"),
        "reference": Word("policy"),
        "trunk": Name("trunk", TRUNKS),
        "trunk_experts": _COUNT,
        "chain": Name("way to learn a chain", CHAINS),
        "task_batch": _COUNT,
        "item_inputs": Name("input of items", ("both", "text", "embedding")),
        "exit_layer": Number(low=0, whole=True),
        "text_length": Number(low=0, high=512, whole=True),
        "encoder_precision": Name("precision", PRECISIONS),
        "tuned_layers": Number(low=0, whole=True),
        "tuning": Name("way of tuning", METHODS),
        "lora_rank": _COUNT,
        "lora_alpha": Number(low=0, open_low=True),
        "lora_targets": Name("set of projections", PROJECTIONS),
        "lora_dropout": _SHARE,
        "encoder_rate": Number(low=0, open_low=True),
        "layer_decay": Number(low=0, high=1, open_low=True),
        "encoder_decay": Number(low=0),
        "live_texts": _COUNT,
        "refresh_every": _COUNT,
        "accumulate": _COUNT,
        "autocast": Number(low=0, high=1, whole=True),
        "checkpointing": Number(low=0, high=1, whole=True),
    }
)
"""Training variable -> what it may be."""

SERVE: Mapping[str, Limit] = MappingProxyType(
    {
        "fusion": Weights("expert", (NETWORK, *EXPERTS)),
        "popularity_penalty": Number(),
        "mmr": Number(low=0, high=1),
        "depth": _COUNT,
        "exponents": Numbers("task"),
    }
)
"""Serving variable -> what it may be."""
