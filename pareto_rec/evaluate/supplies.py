"""What objectives ask for besides lists and truth: scores, predictions and cost, each on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from pareto_rec.data.schema import Stage
from pareto_rec.evaluate.chances import Chances, chances_at
from pareto_rec.evaluate.costs import COSTS, Costs, Encoders
from pareto_rec.evaluate.latency import Latencies
from pareto_rec.evaluate.outputs import TaskOutputs, predicted_by
from pareto_rec.models.base import RATING, Params
from pareto_rec.models.scoring import catalogue_scores, predicted_ratings
from pareto_rec.objectives import Objective, Predicted
from pareto_rec.objectives.outcome import Scores
from pareto_rec.policy import Parts, Scorers, Serving, fused_scores, parts_of
from pareto_rec.tasks import Task
from pareto_rec.train.data import Fit, TrainData


def needs_of(objectives: Iterable[Objective]) -> frozenset[str]:
    """Everything that any of the objectives asks for."""
    return frozenset[str]().union(*(one.needs for one in objectives))


def predicted_signals(
    liked: str | None, losses: Collection[str], tasks: Sequence[Task] = ()
) -> dict[str, bool]:
    """What a network predicts, and whether as probabilities.

    They are the signal of the second task, ratings if trained on, and by their names the tasks of
    the config with the products of their chains.
    """
    found = {liked: True} if liked else {}
    found = {**found, RATING: False} if RATING in losses else found
    return found | predicted_by(tasks, losses)


def met_before(stage: Stage) -> sparse.csr_array:
    """Rows of each user and item in the histories ``[users, items]``."""
    rows = stage.history
    ones = np.ones(len(rows))
    return sparse.csr_array((ones, (rows.user, rows.item)), shape=stage.shape)


@dataclass(frozen=True)
class Supplies:
    """Answers what the objectives of an experiment ask for, and computes nothing else.

    Attributes:
        needs: What is asked for.
        stage: What is predicted.
        data: What networks read.
        liked: Signal of the second task; None without one.
        costs: Cost of serving; None where nobody asks.
        tasks: Tasks of the config.
    """

    needs: frozenset[str]
    stage: Stage
    data: TrainData
    liked: str | None
    costs: Costs | None
    tasks: tuple[Task, ...] = ()

    @classmethod
    def of(
        cls,
        objectives: Collection[Objective],
        stage: Stage,
        data: TrainData,
        scorers: Scorers,
        *,
        k: int,
        liked: str | None,
        folder: Path,
        encoders: Encoders | None = None,
        learn: Stage | None = None,
        tasks: Sequence[Task] = (),
    ) -> Supplies:
        """What a set of objectives needs.

        Args:
            objectives: Whoever may ask.
            stage: What is predicted.
            data: What networks read.
            scorers: Popularity and similarity of the items.
            k: Length of the lists.
            liked: Signal of the second task; None without one.
            folder: Where measured latencies are kept.
            encoders: The backbone, where texts are encoded while a request waits.
            learn: The stage with everybody's rows, where `stage` has a sample of its users.
            tasks: Tasks of the config.
        """
        learn = learn or stage
        needs = needs_of(objectives)
        if not needs & COSTS:
            return cls(needs, stage, data, liked, None, tuple(tasks))
        latencies = Latencies(learn, scorers, data.features, k, folder)
        costs = Costs(learn, k, needs & COSTS, latencies, encoders)
        return cls(needs, stage, data, liked, costs, tuple(tasks))

    def predictions(self, fit: Fit | None) -> Mapping[str, Predicted]:
        """Predicted values of the held-out rows by signal; the same for all serving settings."""
        if fit is None or "predictions" not in self.needs:
            return {}
        rows = self.stage.held_out
        found: dict[str, Predicted] = {}
        if self.liked is not None:
            chance = self._at_rows(fit, _liked)
            true = (rows.signals[self.liked] > 0).astype(np.float32)
            found[self.liked] = Predicted(rows.user, chance, true)
        if f"{RATING}.stars" in fit.params:
            guess = self._at_rows(fit, _stars)
            found[RATING] = Predicted(rows.user, guess, rows.signals[RATING])
        if fit.shape.tasks:
            shown = self.stage.held_out_shown
            of_tasks = TaskOutputs.of(fit, self.data, self.tasks)
            found |= of_tasks.of_rows(rows if shown is None else shown)
        return found

    def chances(
        self, fit: Fit | None, lists: NDArray[np.int64]
    ) -> list[Mapping[str, NDArray[np.float32]]]:
        """Probability of every signal at every place of each of the lists ``[S, users, k]``."""
        if fit is None or "chances" not in self.needs:
            return [{} for _ in lists]
        return chances_at(self.probabilities(fit), lists, self.stage.shape)

    def probabilities(self, fit: Fit) -> Mapping[str, Chances]:
        """Probability of a signal for every item, for signals of which one is predicted."""
        of_tasks = TaskOutputs.of(fit, self.data, self.tasks).chances() if fit.shape.tasks else {}
        if self.liked is None:
            return of_tasks

        @torch.no_grad()
        def liked(users: slice) -> NDArray[np.float32]:
            params = {
                name: part.unsqueeze(0).to(self.data.device) for name, part in fit.params.items()
            }
            histories = self.data.histories[users, -fit.spec.history :]
            features = self.data.item_features(fit.spec, fit.difference)
            return np.asarray(_liked(params, fit, features, histories).cpu().numpy())

        return {self.liked: liked, **of_tasks}

    @torch.no_grad()
    def _at_rows(
        self, fit: Fit, predict: Callable[[Params, Fit, Tensor, Tensor], Tensor]
    ) -> NDArray[np.float32]:
        """Predictions for the held-out rows ``[rows]``, a part of the users at a time."""
        rows, data = self.stage.held_out, self.data
        params = {name: part.unsqueeze(0).to(data.device) for name, part in fit.params.items()}
        histories = data.histories[:, -fit.spec.history :]
        features = data.item_features(fit.spec, fit.difference)
        found = np.zeros(len(rows), dtype=np.float32)
        for users in parts_of(self.stage.shape):
            own = np.flatnonzero((rows.user >= users.start) & (rows.user < users.stop))
            scores = predict(params, fit, features, histories[users]).cpu().numpy()
            found[own] = scores[rows.user[own] - users.start, rows.item[own]]
        return found

    def scores(self, scorers: Scorers | Parts, setting: Serving) -> Scores | None:
        """Scores that lists are made from, ready to be asked for."""
        if "scores" not in self.needs:
            return None

        def of_users(rows: slice) -> NDArray[np.float32]:
            return fused_scores(scorers, setting, rows)

        return of_users

    def cost(self, fit: Fit | None, setting: Serving) -> Mapping[str, Any]:
        """Cost of serving, by objective."""
        return self.costs.of(fit, setting) if self.costs is not None else {}


def _liked(params: Params, fit: Fit, features: Tensor, histories: Tensor) -> Tensor:
    """Chance of the second task ``[users, N]``."""
    temperature = torch.tensor([fit.spec.temperature], device=features.device)
    _, liked = catalogue_scores(params, fit.shape, features, histories, temperature)
    assert liked is not None
    return torch.sigmoid(liked[0])


def _stars(params: Params, fit: Fit, features: Tensor, histories: Tensor) -> Tensor:
    """Predicted ratings ``[users, N]``."""
    return predicted_ratings(params, fit.shape, features, histories)[0]
