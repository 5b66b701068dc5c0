"""Scoring engine of a bundle: from histories to the scorers of an operating point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pareto_rec.bundle.data import BundleData
from pareto_rec.data.ties import tie_ranks
from pareto_rec.objectives import Catalogue
from pareto_rec.objectives.gains import boosts_of
from pareto_rec.ranking import ScorerBuilder, Scorers, ServingParams
from pareto_rec.ranking.backends import Backend, TorchBackend, UserHistory
from pareto_rec.ranking.engine import ScoringEngine
from pareto_rec.training.item_features import log_popularity

POPULARITY = "popularity"
Needs = tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]
"""Experts, and fits with their tasks that have a say."""


def torch_backend(parts: BundleData) -> TorchBackend:
    """Return the arithmetic of a bundle as it was trained, in float32."""
    heads = {
        fit_id: fit.head(torch.from_numpy(parts.vectors_of(fit_id)))
        for fit_id, fit in parts.fits.items()
    }
    return TorchBackend(parts.experts, heads)


class Engine(ScoringEngine):
    """Scoring engine of a bundle, which knows its operating points."""

    def __init__(self, parts: BundleData, form: Backend) -> None:
        self.parts = parts
        norm = np.linalg.norm(parts.items.categories, axis=1, keepdims=True)
        unit = parts.items.categories / np.where(norm > 0, norm, 1)
        ties = tie_ranks(parts.items, parts.train)
        catalogue = Catalogue(
            parts.items, parts.users, parts.popularity, mean_signal=parts.mean_signal
        )
        gains = [
            gain
            for point in parts.about.points
            for gain, weight in parts.serving(point.id).boosts.items()
            if weight
        ]
        boosts = boosts_of(catalogue, gains)
        builder = ScorerBuilder(unit, log_popularity(parts.popularity), ties, boosts=boosts)
        known = {name: len(model.bias) for name, model in parts.experts.items()}
        super().__init__(form, builder, known)

    def silent(self, user: UserHistory, point: str) -> list[str]:
        """Return experts of a point that know none of the history: popularity replaces them."""
        lowest = [int(user.items.min(initial=self.n_items))]
        return [
            name
            for name in self.parts.experts_of(point)
            if self.unread(lowest, name)[0] and not self.parts.experts[name].bias.any()
        ]

    def of_point(self, people: Sequence[UserHistory], point: str) -> tuple[Scorers, ServingParams]:
        """Return scorers and serving variables of an operating point."""
        names, fits = self.needs(point)
        return self.scorers(people, names, dict(fits)), self.parts.serving(point)

    def needs(self, point: str) -> Needs:
        """Return what the lists of a point are made from."""
        serving = self.parts.serving(point)
        fits = tuple(
            (fit_id, serving.weighed_tasks(self.parts.fits[fit_id].shape.tasks))
            for fit_id in self.parts.networks(point)
        )
        return tuple(self.parts.experts_of(point)), fits

    def popular(
        self, people: Sequence[UserHistory], serving: ServingParams
    ) -> tuple[Scorers, ServingParams]:
        """Return popularity, re-ranked as the point has it, for people without a history."""
        scorers = self.builder.popular(len(people), POPULARITY)
        return scorers, ServingParams({POPULARITY: 1.0}, mmr=serving.mmr, depth=serving.depth)


def known_people(parts: BundleData) -> list[UserHistory]:
    """Return every known user with the history that lists are made from."""
    rows = parts.history
    counts = np.bincount(rows.user, minlength=len(parts.users))
    return [UserHistory(items) for items in np.split(rows.item, np.cumsum(counts)[:-1])]
