"""Training data, its checks, and the fit that training returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.losses import CHOSEN, ItemFacts
from pareto_rec.models.base import Shape
from pareto_rec.models.head import ScoringHead
from pareto_rec.tasks import RELEVANCE
from pareto_rec.tasks import check_losses as check_task_losses
from pareto_rec.training.batches import People, Sequences
from pareto_rec.training.pack_tasks import NO_LABELS, TaskLabels, losses_of
from pareto_rec.training.spec import POPULARITY, TrainSpec, reads_as_given
from pareto_rec.training.tuned.source import TextSource

LOOK_SCORES = 16_000_000  # scores of a candidate that validation looks at, at a time


@dataclass(frozen=True)
class Relevance:
    """Scores of the users that validation looks at, made a part of them at a time.

    Attributes:
        shape: Number of users and of items.
        of: Scores of some users ``[rows, N]``.
        watched: What the scores are for and are judged by, as `TrainSpec.watched`.
    """

    shape: tuple[int, int]
    of: Callable[[slice], Tensor]
    watched: str = RELEVANCE

    @classmethod
    def whole(cls, scores: Tensor) -> Relevance:
        """Return scores ``[users, N]`` that are there already."""
        return cls((scores.shape[0], scores.shape[1]), scores.__getitem__)

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield all users in parts of at most `LOOK_SCORES` scores, one user at least."""
        users, n_items = self.shape
        step = max(1, LOOK_SCORES // n_items)
        for begin in range(0, users, step):
            rows = slice(begin, min(begin + step, users))
            yield rows, self.of(rows)


Monitor = Callable[[Relevance], float]


@dataclass(frozen=True)
class TrainData:
    """What training reads, on the device.

    Attributes:
        sequences: Training rows.
        features: Backbone features of the items ``[N, F]``.
        facts: Facts about items.
        histories: Histories at validation ``[users, L_max]``.
        device: Where tensors live.
        people: Groups and tastes of users; None where no loss asks for them.
        references: Name -> log-probabilities of a fixed policy ``[users, N]``.
        texts: Where features of other depths and of tuned layers come from; None without texts.
        labels: Labels of the tasks of the config.
    """

    sequences: Sequences
    features: Tensor
    facts: ItemFacts
    histories: Tensor
    device: torch.device
    people: People | None = None
    references: Mapping[str, Tensor] = field(default_factory=dict)
    texts: TextSource | None = None
    labels: TaskLabels = NO_LABELS

    def item_features(self, spec: TrainSpec, difference: Mapping[str, Tensor]) -> Tensor:
        """Return features of the items as a fit reads them ``[N, F]``.

        Args:
            spec: Its training variables.
            difference: What its tuned layers have learnt; empty for a frozen backbone.
        """
        return self.features if reads_as_given(spec) else self.source.features(spec, difference)

    def head(self, fit: Fit) -> tuple[ScoringHead, Tensor]:
        """Return a fit, ready to score, and its states of the users that validation looks at."""
        head = fit.head(self.item_features(fit.spec, fit.difference))
        return head, head.states(self.histories[:, -fit.spec.history :].cpu().numpy())

    @property
    def source(self) -> TextSource:
        """Where features of other depths come from.

        Raises:
            BadRequestError: If there are no texts.
        """
        if self.texts is None:
            raise BadRequestError(
                "exit_layer, text_length, encoder_precision and tuned_layers need the texts of the "
                "items; set backbone.text = true"
            )
        return self.texts


@dataclass(frozen=True)
class Fit:
    """The result of one fine-tune.

    Attributes:
        spec: Its training variables.
        shape: Its shape.
        params: Its parameters (no leading dimension); empty if it failed.
        curve: ``(step, validation value)`` at every look.
        best_step: Step of the parameters kept.
        seconds: Share of the pack's training time.
        reason: Why it failed, or None.
        difference: What tuned layers of the backbone have learnt; empty for a frozen one.
    """

    spec: TrainSpec
    shape: Shape
    params: Mapping[str, Tensor]
    curve: tuple[tuple[int, float], ...]
    best_step: int
    seconds: float
    reason: str | None = None
    difference: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Training steps up to its last look; one that failed may have made some more."""
        return self.curve[-1][0] if self.curve else 0

    def head(self, features: Tensor) -> ScoringHead:
        """Return the fit, ready to score.

        Args:
            features: What it reads of the items ``[N, F]``.
        """
        spec = self.spec
        ranks, temperature = not spec.by_tasks_alone, spec.temperature
        return ScoringHead(self.params, self.shape, features, temperature=temperature, ranks=ranks)


@dataclass(frozen=True)
class Checkpoint:
    """Where a fit stands that has not been trained to its end.

    Attributes:
        fit: What it would be if it ended here.
        step: Steps that it has made.
        running: Whether it would be trained on; False where its looks have long brought nothing.
        state: Everything that training goes on from, by name.
    """

    fit: Fit
    step: int
    running: bool
    state: Mapping[str, Tensor]


def check_losses(spec: TrainSpec, data: TrainData) -> None:
    """Refuse a loss that asks for what the data does not have.

    Raises:
        BadRequestError: Names the loss and what it needs.
    """
    check_task_losses(data.labels.tasks, spec.loss_weights, spec.chain)
    needs = {need for loss in losses_of(spec, data.labels) for need in loss.needs}
    if needs & {"group", "taste"} and data.people is None:
        raise BadRequestError("losses on groups or tastes need users, which the data does not have")
    if "group" in needs and data.people is not None and spec.group not in data.people.groups:
        groups = data.people.groups
        if not spec.group:
            raise BadRequestError(
                'loss "group_gap" needs an attribute of users: set the training variable "group" '
                f"to one of {', '.join(sorted(groups)) or 'those in the data (it has none)'}"
            )
        raise unknown("user attribute in group", spec.group, groups)
    for loss in losses_of(spec, data.labels):
        if loss.gain is not None:
            _check_gain(loss.name, spec.gain if loss.gain == CHOSEN else loss.gain, data)
    if "reference" in needs and spec.reference not in (POPULARITY, *data.references):
        raise unknown("policy in reference", spec.reference, (POPULARITY, *data.references))


def _check_gain(loss: str, gain: str, data: TrainData) -> None:
    """Refuse a loss that weighs targets by a gain that is not there."""
    if not gain:
        raise BadRequestError(
            f'loss "{loss}" needs a gain: set the training variable "gain" to what a hit is worth, '
            'named as for boosts, for example "signal=rating"'
        )
    if gain not in data.facts.gains:
        raise unknown(f'gain of the loss "{loss}":', gain, data.facts.gains)
