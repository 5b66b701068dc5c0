"""Optional inputs of objectives: scores, predictions and cost, each computed on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.baselines import BASELINES, Baseline
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation.costs import COSTS, Costs, Encoders
from pareto_rec.evaluation.latency import Latencies
from pareto_rec.evaluation.members import Fits, fit_shares
from pareto_rec.evaluation.probabilities import Chances, chances_at
from pareto_rec.evaluation.task_predictions import (
    Part,
    TaskOutputs,
    mean_predictions,
    weighted_mean,
)
from pareto_rec.objectives import Objective, Predicted
from pareto_rec.objectives.outcome import Scores
from pareto_rec.ranking import (
    BlockwiseScorers,
    ScorerBuilder,
    Scorers,
    ServingParams,
    fused_scores,
)
from pareto_rec.tasks import Task
from pareto_rec.training.data import Fit, TrainData


def needs_of(objectives: Iterable[Objective]) -> frozenset[str]:
    """Return everything that any of the objectives needs."""
    return frozenset[str]().union(*(objective.needs for objective in objectives))


def met_before(stage: Stage) -> sparse.csr_array:
    """Count the rows of each user and item in the histories ``[users, items]``."""
    rows = stage.history
    ones = np.ones(len(rows))
    return sparse.csr_array((ones, (rows.user, rows.item)), shape=stage.shape)


@dataclass(frozen=True)
class OutcomeInputs:
    """Answers what the objectives of an experiment ask for, and computes nothing else.

    Attributes:
        needs: What is asked for.
        stage: What is predicted.
        data: What networks read.
        costs: Cost of serving; None if no objective needs it.
        tasks: Tasks of the config.
    """

    needs: frozenset[str]
    stage: Stage
    data: TrainData
    costs: Costs | None
    tasks: tuple[Task, ...] = ()

    @classmethod
    def of(
        cls,
        objectives: Collection[Objective],
        stage: Stage,
        data: TrainData,
        builder: ScorerBuilder,
        *,
        k: int,
        folder: Path,
        encoders: Encoders | None = None,
        learn: Stage | None = None,
        tasks: Sequence[Task] = (),
        baselines: Mapping[str, Baseline] = BASELINES,
    ) -> OutcomeInputs:
        """Prepare what a set of objectives needs.

        Args:
            objectives: Whoever may ask.
            stage: What is predicted.
            data: What networks read.
            builder: Makes what is fused.
            k: Length of the lists.
            folder: Where measured latencies are kept.
            encoders: The backbone, where texts are encoded while a request waits.
            learn: The stage with everybody's rows, where `stage` has a sample of its users.
            tasks: Tasks of the config.
            baselines: Every baseline with its parameters.
        """
        learn = learn or stage
        needs = needs_of(objectives)
        if not needs & COSTS:
            return cls(needs, stage, data, None, tuple(tasks))
        latencies = Latencies(learn, builder, data, k, folder, baselines)
        costs = Costs(learn, k, needs & COSTS, latencies, encoders, baselines)
        return cls(needs, stage, data, costs, tuple(tasks))

    def predictions(
        self, fits: Fits, settings: Sequence[ServingParams]
    ) -> list[Mapping[str, Predicted]]:
        """Return predictions for the held-out rows by signal, for each setting.

        Of several fits, the mean of what those predict that have the task, weighted by their
        shares in the setting (`pareto_rec.evaluation.members.fit_shares`). Settings of equal shares
        share their predictions.
        """
        if not fits or "predictions" not in self.needs:
            return [{} for _ in settings]
        shares = [fit_shares(fits, setting) for setting in settings]
        by_fit = {
            name: TaskOutputs.of(fits[name], self.data, self.tasks).of_stage(self.stage)
            for name in dict.fromkeys(name for one in shares for name in one)
        }
        by_shares = {
            key: mean_predictions({name: (share, by_fit[name]) for name, share in key})
            for key in dict.fromkeys(tuple(one.items()) for one in shares)
        }
        return [by_shares[tuple(one.items())] for one in shares]

    def chances(
        self, fits: Fits, settings: Sequence[ServingParams], lists: NDArray[np.int64]
    ) -> list[Mapping[str, NDArray[np.float32]]]:
        """Return the probability of every signal at every list position ``[S, users, k]``.

        Of several fits, the mean as in `predictions`.
        """
        if not fits or "chances" not in self.needs:
            return [{} for _ in lists]
        shares = [fit_shares(fits, setting) for setting in settings]
        parts: list[dict[str, list[Part]]] = [{} for _ in settings]
        for name, fit in fits.items():
            rows = [row for row, own in enumerate(shares) if name in own]
            if not rows:
                continue
            found = chances_at(self.probabilities(fit), lists[rows], self.stage.shape)
            for row, chances in zip(rows, found, strict=True):
                for signal, values in chances.items():
                    parts[row].setdefault(signal, []).append((shares[row][name], values))
        return [{signal: weighted_mean(own) for signal, own in row.items()} for row in parts]

    def probabilities(self, fit: Fit) -> Mapping[str, Chances]:
        """Return the probability of an outcome for every item, for tasks that predict one."""
        return TaskOutputs.of(fit, self.data, self.tasks).chances()

    def scores(self, scorers: Scorers | BlockwiseScorers, setting: ServingParams) -> Scores | None:
        """Return scores that lists are made from, ready to be asked for."""
        if "scores" not in self.needs:
            return None

        def of_users(rows: slice) -> NDArray[np.float32]:
            return fused_scores(scorers, setting, rows)

        return of_users

    def cost(self, fits: Fits, setting: ServingParams) -> Mapping[str, Any]:
        """Compute the cost of serving, by objective."""
        return self.costs.of(fits, setting) if self.costs is not None else {}
