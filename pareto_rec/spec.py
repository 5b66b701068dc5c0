"""Training variables: what they are, and what fits of one pack have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pareto_rec.errors import construct, unknown
from pareto_rec.losses import COMBINE, LOSSES
from pareto_rec.losses.base import resolve
from pareto_rec.models import MODELS

POPULARITY = "popularity"


@dataclass(frozen=True)
class TrainSpec:
    """Every training variable of one fit; those not searched keep the config's value.

    Attributes:
        model: Registered model.
        width: Width of item and user vectors.
        history: Number of last items read.
        layers: Blocks of self-attention.
        heads: Attention heads; must divide the width.
        steps: Most training steps.
        batch: Examples per step.
        places: Predicted places per example (self-attention).
        horizon: Items that follow, all of them targets.
        negatives: Items drawn per step for sampled losses.
        learning_rate: Peak of the schedule.
        weight_decay: Decoupled (AdamW).
        dropout: Share of history items dropped.
        item_dropout: Share of item embeddings dropped.
        temperature: Of the softmax.
        combine: Registered way to combine losses.
        loss_weights: Loss name -> weight, on the simplex.
        check_every: Steps between two looks at validation.
        patience: Looks without improvement before a fit stops.
        group: Attribute of users between whose values the loss ``group_gap`` is measured.
        reference: Policy that the loss ``reference_kl`` keeps to: ``"popularity"``, or the name of
            one of the :attr:`TrainData.references`.
    """

    model: str = "attention_pooling"
    width: int = 64
    history: int = 50
    layers: int = 2
    heads: int = 4
    steps: int = 150
    batch: int = 256
    places: int = 1
    horizon: int = 1
    negatives: int = 256
    learning_rate: float = 0.003
    weight_decay: float = 0.01
    dropout: float = 0.1
    item_dropout: float = 0.1
    temperature: float = 1.0
    combine: str = "weighted_sum"
    loss_weights: Mapping[str, float] = field(default_factory=lambda: {"softmax": 1.0})
    check_every: int = 25
    patience: int = 3
    group: str = ""
    reference: str = POPULARITY


SHARED = (
    *("model", "width", "history", "layers", "heads", "steps", "batch", "places", "horizon"),
    *("negatives", "check_every", "patience", "group", "reference"),
)


def pack_key(spec: TrainSpec) -> tuple[object, ...]:
    """What candidates must have in common to be trained in one pack.

    Ways that look at gradients go apart from those that do not, who would pay for them.
    """
    by_gradient = COMBINE[spec.combine].needs_gramian
    return (*(getattr(spec, name) for name in SHARED), by_gradient, *spec.loss_weights)


def train_spec(fixed: Mapping[str, Any], values: Mapping[str, Any]) -> TrainSpec:
    """Training variables, searched ones over fixed ones.

    Raises:
        BadRequestError: If a variable, or the model, loss or way to combine, is not known.
    """
    spec = construct("training variable", TrainSpec, {**fixed, **values})
    for kind, name, known in (
        ("model", spec.model, MODELS),
        ("way to combine", spec.combine, COMBINE),
    ):
        if name not in known:
            raise unknown(kind, name, known)
    resolve(list(spec.loss_weights), LOSSES)
    return spec
