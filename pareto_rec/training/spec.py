"""Training variables: one value of each per fit, and what a pack has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pareto_rec.backbone.views import PRECISIONS
from pareto_rec.core.declarations import common_values, declarations, variable, without_idle
from pareto_rec.core.errors import construct, unknown
from pareto_rec.core.limits import Number, RegisteredName, Weights, Word
from pareto_rec.core.seeds import child_seed
from pareto_rec.losses import AGGREGATORS, CHOSEN, LOSSES
from pareto_rec.models import MODELS
from pareto_rec.models.trunk import TRUNKS
from pareto_rec.tasks import BUILT_IN, CHAINS, PREFIX, RELEVANCE, is_task
from pareto_rec.training.matmul_dtype import MATMUL_DTYPES
from pareto_rec.training.tuned.layers import METHODS, PROJECTIONS

POPULARITY = "popularity"
AUTO, TAIL = "auto", "tail"  # of the training variable `monitor`
MOST_HISTORY = 200  # longest history that a model may read
IDLE = {"text": "item.embed", "embedding": "item.project"}
"""What each of `item_inputs` leaves out: parameters that stay zero."""

_STEPS = Number(low=1, high=10_000_000, whole=True)
_ROWS = Number(low=1, high=1_000_000, whole=True)  # or items, or texts, of one step
_SIZE = Number(low=1, high=8192, whole=True)  # of a layer
_LAYERS = Number(low=1, high=256, whole=True)
_SCALE = Number(low=1e-6, high=1e6)  # what something is multiplied or divided by
_RATE = Number(low=0, high=1e3, open_low=True)
_DECAY = Number(low=0, high=1e3)
_SHARE = Number(low=0, high=1, open_high=True)
_SWITCH = Number(low=0, high=1, whole=True)


def _by_gradient(aggregation: str) -> bool:
    """Whether it costs more backward passes, and is packed apart."""
    return AGGREGATORS[aggregation].needs_gramian


def _tunes(spec: TrainSpec) -> bool:
    return spec.tuned_layers > 0


def _weighs(spec: TrainSpec) -> bool:
    plain = (name for name in spec.loss_weights if not is_task(name))
    return any(LOSSES[name].gain == CHOSEN for name in plain)


def _adapts(spec: TrainSpec) -> bool:
    return spec.tuned_layers > 0 and spec.tuning == "lora"


def _has_experts(spec: TrainSpec) -> bool:
    return spec.trunk != "shared_bottom"


def _learns_tasks(spec: TrainSpec) -> bool:
    return spec.on_tasks


@dataclass(frozen=True)
class TrainSpec:
    """Every training variable of one fit; those not searched keep the config's value.

    The defaults of `horizon`, `steps` and `learning_rate` are good on validation data of all of
    MovieLens 100K, an online retailer, groceries and coupons, for attention pooling on the softmax
    alone; a choice for one of them alone is better by up to 8 % there.
    """

    model: str = variable(
        "attention_pooling", RegisteredName("model", MODELS), "Registered model.", shared=True
    )
    width: int = variable(64, _SIZE, "Width of item and user vectors.", shared=True)
    history: int = variable(
        50, Number(low=1, high=MOST_HISTORY, whole=True), "Number of last items read.", shared=True
    )
    layers: int = variable(2, _LAYERS, "Blocks of self-attention.", shared=True)
    heads: int = variable(4, _LAYERS, "Attention heads; must divide the width.", shared=True)
    steps: int = variable(250, _STEPS, "Most training steps.", shared=True)
    batch: int = variable(256, _ROWS, "Examples per step.", shared=True)
    positions: int = variable(
        1, _SIZE, "Predicted positions per example (self-attention).", shared=True
    )
    horizon: int = variable(10, _ROWS, "Items that follow, all of them targets.")
    regularizer_rows: int = variable(
        64,
        _ROWS,
        "Rows of a step on which losses on the whole predicted distribution are estimated.",
        shared=True,
    )
    matmul_dtype: str = variable(
        "float32",
        RegisteredName("dtype of matrix products", MATMUL_DTYPES),
        "Type of the numbers that are multiplied with all item vectors, one of "
        "`training.matmul_dtype.MATMUL_DTYPES`. In bfloat16 results are equal up to its "
        "rounding only.",
        shared=True,
    )
    negatives: int = variable(256, _ROWS, "Items drawn per step for sampled losses.", shared=True)
    learning_rate: float = variable(0.01, _RATE, "Peak of the schedule.")
    weight_decay: float = variable(0.01, _DECAY, "Decoupled (AdamW).")
    dropout: float = variable(0.1, _SHARE, "Share of history items dropped.")
    item_dropout: float = variable(0.1, _SHARE, "Share of item embeddings dropped.")
    temperature: float = variable(1.0, _SCALE, "Of the softmax.")
    aggregation: str = variable(
        "weighted_sum",
        RegisteredName("loss aggregation", AGGREGATORS),
        "Registered loss aggregation: how several losses become one step.",
        shared=_by_gradient,
    )
    loss_weights: Mapping[str, float] = variable(
        {"softmax": 1.0},
        Weights("loss", LOSSES),
        "Loss name -> weight, on the simplex.",
        shared=tuple,
    )
    replica: int = variable(
        0,
        Number(low=0, high=1000, whole=True),
        "Number of a repetition: the same training with other random draws.",
    )
    check_every: int = variable(25, _STEPS, "Steps between two looks at validation.", shared=True)
    patience: int = variable(
        3, _STEPS, "Looks without improvement before a fit stops.", shared=True
    )
    monitor: str = variable(
        AUTO,
        Word("monitor"),
        'What early stopping watches on validation data: `"relevance"` (NDCG@10), `"tail"` (the '
        "same of items in the tail alone), or a task by the name of its loss (NDCG@10 of its "
        "signal, with a value as the gain; items are ranked by relevance times the task's "
        "prediction, or by all tasks where no loss ranks); where nothing of that is held out, "
        'relevance. `"auto"`: the one for which the losses weigh most together; `popularity` and '
        "`tail_softmax` are for the tail, others that rank for relevance, a task's for the task, "
        "the rest for none.",
    )
    group: str = variable(
        "",
        Word("user attribute"),
        "Attribute of users between whose values the loss `group_gap` is measured.",
        shared=True,
    )
    gain: str = variable(
        "",
        Word("gain"),
        "Gain that the loss `gain_softmax` weighs targets by, named as for boosts: `price`, "
        "`category=VALUE`, `signal=NAME`, ...",
        shared=True,
        needs=_weighs,
    )
    reference: str = variable(
        POPULARITY,
        Word("policy"),
        'Policy that the loss `reference_kl` keeps to: `"popularity"`, or the name of one of '
        "the `TrainData.references`.",
        shared=True,
    )
    trunk: str = variable(
        "shared_bottom",
        RegisteredName("trunk", TRUNKS),
        "Registered trunk: what lies between the user encoder and the towers of the tasks.",
        shared=True,
    )
    trunk_experts: int = variable(
        4,
        _LAYERS,
        "Its experts: how many are shared, and how many each task has of its own.",
        shared=True,
        needs=_has_experts,
    )
    chain: str = variable(
        "esmm",
        RegisteredName("way to learn a chain", CHAINS),
        'How tasks that are conditional on others are learnt: `"esmm"` on all shown rows, '
        '`"conditional"` on those in which the condition is met.',
        shared=True,
        needs=_learns_tasks,
    )
    task_batch: int = variable(
        256,
        _ROWS,
        "Shown rows per step, where losses of tasks are trained on.",
        shared=True,
        needs=_learns_tasks,
    )
    item_inputs: str = variable(
        "both",
        RegisteredName("input of items", ("both", *IDLE)),
        'What an item vector is made of: `"both"`, `"text"` or `"embedding"`.',
        shared=True,
    )
    exit_layer: int = variable(
        0,
        Number(low=0, high=256, whole=True),
        "Layers of the backbone that are run; 0: as many as the config says.",
        shared=True,
    )
    text_length: int = variable(
        0,
        Number(low=0, high=512, whole=True),
        "Tokens per text; 0: as many as the config says.",
        shared=True,
    )
    encoder_precision: str = variable(
        "float32",
        RegisteredName("precision", PRECISIONS),
        "Numbers that frozen layers compute with.",
        shared=True,
    )
    tuned_layers: int = variable(
        0,
        Number(low=0, high=256, whole=True),
        "How many of the topmost layers that are run are trained, at most all of them; 0 for a "
        "frozen backbone. What follows matters for tuned ones alone.",
        shared=True,
    )
    tuning: str = variable(
        "lora",
        RegisteredName("way of tuning", METHODS),
        '`"lora"` or `"full"`.',
        shared=True,
        needs=_tunes,
    )
    lora_rank: int = variable(8, _SIZE, "Rank of the adapters.", shared=True, needs=_adapts)
    lora_alpha: float = variable(16.0, _SCALE, "Their scale times their rank.", needs=_adapts)
    lora_targets: str = variable(
        "query_value",
        RegisteredName("set of projections", PROJECTIONS),
        "Which projections get one, a key of `training.tuned.layers.PROJECTIONS`.",
        shared=True,
        needs=_adapts,
    )
    lora_dropout: float = variable(
        0.0, _SHARE, "Share of the channels dropped before an adapter.", needs=_adapts
    )
    encoder_rate: float = variable(
        0.001, _RATE, "Peak learning rate of the topmost layer.", needs=_tunes
    )
    layer_decay: float = variable(
        0.9,
        Number(low=0, high=1, open_low=True),
        "Every layer further down learns at this share of the rate of the one above it.",
        needs=_tunes,
    )
    encoder_decay: float = variable(
        0.01, _DECAY, "Decoupled weight decay of tuned layers.", needs=_tunes
    )
    live_texts: int = variable(
        48, _ROWS, "Most texts that a step encodes anew.", shared=True, needs=_tunes
    )
    refresh_every: int = variable(
        25, _STEPS, "Steps between two encodings of all texts.", shared=True, needs=_tunes
    )
    accumulate: int = variable(
        1,
        _STEPS,
        "Steps whose gradients make one update of tuned layers.",
        shared=True,
        needs=_tunes,
    )
    autocast: int = variable(
        0, _SWITCH, "1: tuned layers are trained in bfloat16.", shared=True, needs=_tunes
    )
    checkpointing: int = variable(
        0, _SWITCH, "1: activations are computed twice to save memory.", shared=True, needs=_tunes
    )

    def seed(self, root: int) -> int:
        """Return the seed of the fit, given that of all fits."""
        return child_seed(root, "replica", self.replica) if self.replica else root

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
    def watched(self) -> str:
        """What early stopping watches: ``"relevance"``, ``"tail"``, or a task by its loss."""
        if self.monitor != AUTO:
            return self.monitor
        shares = {RELEVANCE: 0.0}  # the first of equals
        for name, weight in self.loss_weights.items():
            metric = _metric_of(name)
            if metric is not None:
                shares[metric] = shares.get(metric, 0.0) + weight
        return max(shares, key=lambda metric: shares[metric])

    @property
    def by_tasks_alone(self) -> bool:
        """Whether tasks are trained on and no loss ranks, so that tasks alone make the ranking."""
        plain = [name for name in self.loss_weights if not is_task(name)]
        return self.on_tasks and not any(LOSSES[name].accuracy for name in plain)


def _metric_of(loss: str) -> str | None:
    """Return what shows on validation data whether a loss has learnt something; None: nothing."""
    if is_task(loss):
        return loss
    if loss == POPULARITY or LOSSES[loss].gain == TAIL:
        return TAIL
    return RELEVANCE if LOSSES[loss].accuracy else None


def pack_key(spec: TrainSpec) -> tuple[object, ...]:
    """Return what candidates must have in common to be trained in one pack.

    Gradient-based aggregators are packed apart: they cost more backward passes.
    """
    return common_values(spec)


def reads_as_given(spec: TrainSpec) -> bool:
    """Tell whether a fit reads the features of the config's own depth, frozen and in float32."""
    changed = (spec.exit_layer, spec.text_length, spec.tuned_layers)
    return not any(changed) and spec.encoder_precision == "float32"


def train_spec(fixed: Mapping[str, Any], values: Mapping[str, Any]) -> TrainSpec:
    """Return training variables, searched ones over fixed ones.

    Raises:
        BadRequestError: If a variable, or what one of them names, is not known.
    """
    spec = construct("training variable", TrainSpec, {**fixed, **values})
    for name, one in declarations(TrainSpec).items():
        if isinstance(one.limit, RegisteredName):
            one.limit.check(getattr(spec, name))
    for name in spec.loss_weights:
        if name not in LOSSES and not is_task(name):
            raise unknown("loss", name, (*LOSSES, *BUILT_IN))
    tasks = [name for name in spec.loss_weights if is_task(name)]
    if spec.monitor not in (AUTO, RELEVANCE, TAIL, *tasks):
        raise unknown("monitor", spec.monitor, (AUTO, RELEVANCE, TAIL, *tasks))
    return without_idle(spec)  # so that equal fits look equal
