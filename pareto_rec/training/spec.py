"""Training variables: one value of each per fit, and those that a pack has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pareto_rec.core.errors import construct, unknown
from pareto_rec.losses import AGGREGATORS, LOSSES
from pareto_rec.models import MODELS
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.tasks import BUILT_IN, CHAINS, PREFIX, is_task

POPULARITY = "popularity"
IDLE = {"text": "item.embed", "embedding": "item.project"}
"""What each of `item_inputs` leaves out: parameters that stay zero."""


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
        positions: Predicted positions per example (self-attention).
        horizon: Items that follow, all of them targets.
        regularizer_rows: Rows of a step on which losses on the whole predicted distribution are
            estimated.
        matmul_dtype: Type of the numbers that are multiplied with all item vectors, one of
            `training.matmul_dtype.MATMUL_DTYPES`. In bfloat16 results are equal up to its
            rounding only.
        negatives: Items drawn per step for sampled losses.
        learning_rate: Peak of the schedule.
        weight_decay: Decoupled (AdamW).
        dropout: Share of history items dropped.
        item_dropout: Share of item embeddings dropped.
        temperature: Of the softmax.
        aggregation: Registered loss aggregation: how several losses become one step.
        loss_weights: Loss name -> weight, on the simplex.
        check_every: Steps between two looks at validation.
        patience: Looks without improvement before a fit stops.
        group: Attribute of users between whose values the loss ``group_gap`` is measured.
        reference: Policy that the loss ``reference_kl`` keeps to: ``"popularity"``, or the name of
            one of the :attr:`TrainData.references`.
        trunk: Registered trunk: what lies between the user encoder and the towers of the tasks.
        trunk_experts: Its experts: how many are shared, and how many each task has of its own.
        chain: How tasks that are conditional on others are learnt: ``"esmm"`` on all shown rows,
            ``"conditional"`` on those in which the condition is met.
        task_batch: Shown rows per step, where losses of tasks are trained on.
        item_inputs: What an item vector is made of: ``"both"``, ``"text"`` or ``"embedding"``.
        exit_layer: Layers of the backbone that are run; 0: as many as the config says.
        text_length: Tokens per text; 0: as many as the config says.
        encoder_precision: Numbers that frozen layers compute with.
        tuned_layers: How many of the topmost layers that are run are trained, at most all of them;
            0 for a frozen backbone. What follows matters for tuned ones alone.
        tuning: ``"lora"`` or ``"full"``.
        lora_rank: Rank of the adapters.
        lora_alpha: Their scale times their rank.
        lora_targets: Which projections get one, a key of `training.tuned.layers.PROJECTIONS`.
        lora_dropout: Share of the channels dropped before an adapter.
        encoder_rate: Peak learning rate of the topmost layer.
        layer_decay: Every layer further down learns at this share of the rate of the one above it.
        encoder_decay: Decoupled weight decay of tuned layers.
        live_texts: Most texts that a step encodes anew.
        refresh_every: Steps between two encodings of all texts.
        accumulate: Steps whose gradients make one update of tuned layers.
        autocast: 1: tuned layers are trained in bfloat16.
        checkpointing: 1: activations are computed twice to save memory.
    """

    model: str = "attention_pooling"
    width: int = 64
    history: int = 50
    layers: int = 2
    heads: int = 4
    steps: int = 150
    batch: int = 256
    positions: int = 1
    horizon: int = 1
    regularizer_rows: int = 64
    matmul_dtype: str = "float32"
    negatives: int = 256
    learning_rate: float = 0.003
    weight_decay: float = 0.01
    dropout: float = 0.1
    item_dropout: float = 0.1
    temperature: float = 1.0
    aggregation: str = "weighted_sum"
    loss_weights: Mapping[str, float] = field(default_factory=lambda: {"softmax": 1.0})
    check_every: int = 25
    patience: int = 3
    group: str = ""
    reference: str = POPULARITY
    trunk: str = "shared_bottom"
    trunk_experts: int = 4
    chain: str = "esmm"
    task_batch: int = 256
    item_inputs: str = "both"
    exit_layer: int = 0
    text_length: int = 0
    encoder_precision: str = "float32"
    tuned_layers: int = 0
    tuning: str = "lora"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_targets: str = "query_value"
    lora_dropout: float = 0.0
    encoder_rate: float = 0.001
    layer_decay: float = 0.9
    encoder_decay: float = 0.01
    live_texts: int = 48
    refresh_every: int = 25
    accumulate: int = 1
    autocast: int = 0
    checkpointing: int = 0

    @property
    def touched(self) -> int:
        """Most items that the examples and negatives of one step can hold."""
        shown = self.task_batch * (self.history + 1) if self.on_tasks else 0
        return self.batch * (self.history + self.positions * self.horizon) + self.negatives + shown

    @property
    def on_tasks(self) -> bool:
        """Whether a loss of a task of the config is trained on."""
        return any(name.startswith(PREFIX) for name in self.loss_weights)

    @property
    def by_tasks_alone(self) -> bool:
        """Whether tasks are trained on and no loss ranks, so that tasks alone make the ranking."""
        plain = [name for name in self.loss_weights if not is_task(name)]
        return self.on_tasks and not any(LOSSES[name].accuracy for name in plain)


SHARED = (
    *("model", "width", "history", "layers", "heads", "steps", "batch", "positions"),
    *(
        "regularizer_rows",
        "matmul_dtype",
        "negatives",
        "check_every",
        "patience",
        "group",
        "reference",
    ),
    *("trunk", "trunk_experts", "chain", "task_batch"),
    *("item_inputs", "exit_layer", "text_length", "encoder_precision", "tuned_layers"),
)
OF_TUNED = (
    *("tuning", "lora_rank", "lora_targets", "live_texts", "refresh_every", "accumulate"),
    *("autocast", "checkpointing"),
)
"""What tuned candidates of a pack have in common besides."""
OF_LORA = ("lora_rank", "lora_alpha", "lora_targets", "lora_dropout")
_ONLY_TUNED = (*OF_TUNED, *OF_LORA, "encoder_rate", "layer_decay", "encoder_decay")


def pack_key(spec: TrainSpec) -> tuple[object, ...]:
    """Return what candidates must have in common to be trained in one pack.

    Gradient-based aggregators are packed apart: they cost more backward passes.
    """
    by_gradient = AGGREGATORS[spec.aggregation].needs_gramian
    shared = (*SHARED, *OF_TUNED) if spec.tuned_layers else SHARED
    return (*(getattr(spec, name) for name in shared), by_gradient, *spec.loss_weights)


def reads_as_given(spec: TrainSpec) -> bool:
    """Tell whether a fit reads the features of the config's own depth, frozen and in float32."""
    changed = (spec.exit_layer, spec.text_length, spec.tuned_layers)
    return not any(changed) and spec.encoder_precision == "float32"


def train_spec(fixed: Mapping[str, Any], values: Mapping[str, Any]) -> TrainSpec:
    """Return training variables, searched ones over fixed ones.

    Raises:
        BadRequestError: If a variable, or the model, loss or aggregation, is not known.
    """
    spec = construct("training variable", TrainSpec, {**fixed, **values})
    for kind, name, known in (
        ("model", spec.model, MODELS),
        ("loss aggregation", spec.aggregation, AGGREGATORS),
        ("trunk", spec.trunk, TRUNKS),
        ("way to learn a chain", spec.chain, CHAINS),
    ):
        if name not in known:
            raise unknown(kind, name, known)
    for name in spec.loss_weights:
        if name not in LOSSES and not is_task(name):
            raise unknown("loss", name, (*LOSSES, *BUILT_IN))
    return _without_idle(spec)


def _without_idle(spec: TrainSpec) -> TrainSpec:
    """Reset what has no effect in a spec to its default, so that equal fits look equal."""
    idle: tuple[str, ...] = OF_LORA if spec.tuning != "lora" else ()
    if not spec.tuned_layers:
        idle = _ONLY_TUNED
    if spec.trunk == "shared_bottom":
        idle += ("trunk_experts",)
    if not spec.on_tasks:
        idle += ("chain", "task_batch")
    plain = TrainSpec()
    return replace(spec, **{name: getattr(plain, name) for name in idle})
