"""What objectives ask for besides lists and truth: scores, predictions and cost, each on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.costs import COSTS, Costs, Encoder
from pareto_rec.data.schema import Stage
from pareto_rec.latency import Latencies
from pareto_rec.models.base import RATING
from pareto_rec.models.scoring import catalogue_scores, predicted_ratings
from pareto_rec.objectives import Objective, Predicted
from pareto_rec.objectives.outcome import Scores
from pareto_rec.policy import Scorers, Serving, fused_scores
from pareto_rec.train import Fit, TrainData


def needs_of(objectives: Iterable[Objective]) -> frozenset[str]:
    """Everything that any of the objectives asks for."""
    return frozenset[str]().union(*(one.needs for one in objectives))


def predicted_signals(liked: str | None, losses: Collection[str]) -> tuple[str, ...]:
    """Signals whose values a network predicts: the second task's, and ratings if trained on."""
    return tuple(name for name in (liked, RATING if RATING in losses else None) if name)


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
    """

    needs: frozenset[str]
    stage: Stage
    data: TrainData
    liked: str | None
    costs: Costs | None

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
        encoder: Encoder | None = None,
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
            encoder: The backbone, where texts are encoded while a request waits.
        """
        needs = needs_of(objectives)
        if not needs & COSTS:
            return cls(needs, stage, data, liked, None)
        encode, key = (encoder.encode, encoder.key) if encoder else (None, "")
        latencies = Latencies(stage, scorers, data.features, k, folder, encode, key)
        return cls(needs, stage, data, liked, Costs(stage, k, needs & COSTS, latencies, encoder))

    def predictions(self, fit: Fit | None) -> Mapping[str, Predicted]:
        """Predicted values of the held-out rows by signal; the same for all serving settings."""
        if fit is None or "predictions" not in self.needs:
            return {}
        rows = self.stage.held_out
        temperature = torch.tensor([fit.spec.temperature], device=self.data.device)
        params = {n: part.unsqueeze(0).to(self.data.device) for n, part in fit.params.items()}
        histories = self.data.histories[:, -fit.spec.history :]
        features, found = self.data.features, {}
        if self.liked is not None:
            with torch.no_grad():
                _, liked = catalogue_scores(params, fit.shape, features, histories, temperature)
            assert liked is not None
            chance = torch.sigmoid(liked[0]).cpu().numpy()[rows.user, rows.item]
            true = (rows.signals[self.liked] > 0).astype(np.float32)
            found[self.liked] = Predicted(rows.user, chance, true)
        if f"{RATING}.stars" in params:
            with torch.no_grad():
                stars = predicted_ratings(params, fit.shape, features, histories)
            guess = stars[0].cpu().numpy()[rows.user, rows.item]
            found[RATING] = Predicted(rows.user, guess, rows.signals[RATING])
        return found

    def scores(self, scorers: Scorers, setting: Serving) -> Scores | None:
        """Scores that lists are made from, ready to be asked for."""
        if "scores" not in self.needs:
            return None

        def of_users(rows: slice) -> NDArray[np.float32]:
            return fused_scores(scorers, setting, rows)

        return of_users

    def cost(self, fit: Fit | None, setting: Serving) -> Mapping[str, Any]:
        """Cost of serving, by objective."""
        return self.costs.of(fit, setting) if self.costs is not None else {}
