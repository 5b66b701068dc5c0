"""Scoring engine: from histories to the scorers of the serving policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from pareto_rec.bundle.backends import Backend, Floats, Ints, UserHistory
from pareto_rec.bundle.data import BundleData
from pareto_rec.data.ties import tie_ranks
from pareto_rec.objectives import Catalogue
from pareto_rec.objectives.gains import boosts_of
from pareto_rec.ranking import ScorerBuilder, Scorers, ServingParams, seen_by
from pareto_rec.training.item_features import log_popularity

POPULARITY = "popularity"
Needs = tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]
"""Experts, and fits with their tasks that have a say."""


class Engine:
    """Engine that turns histories into the scorers of the serving policy."""

    def __init__(self, parts: BundleData, form: Backend) -> None:
        self.parts, self.form = parts, form
        self.n_items = len(parts.items)
        norm = np.linalg.norm(parts.items.categories, axis=1, keepdims=True)
        unit = parts.items.categories / np.where(norm > 0, norm, 1)
        ties = tie_ranks(parts.items, parts.train)
        catalogue = Catalogue(parts.items, parts.users, parts.popularity)
        gains = [
            gain
            for point in parts.about.points
            for gain, weight in parts.serving(point.id).boosts.items()
            if weight
        ]
        self.builder = ScorerBuilder(
            unit, log_popularity(parts.popularity), ties, boosts=boosts_of(catalogue, gains)
        )

    def scorers(
        self,
        people: Sequence[UserHistory],
        names: Sequence[str],
        fits: Mapping[str, Sequence[str]],
    ) -> Scorers:
        """Return what the policy fuses.

        Args:
            people: Whose lists are made.
            names: Experts that are fused.
            fits: Fit id -> its tasks that have a say, for every network that is fused.
        """
        inside = [user.items[user.items < self.n_items] for user in people]
        lengths = np.array([len(items) for items in inside])
        flat = np.concatenate([*inside, np.empty(0, dtype=np.int64)])
        lowest = [int(user.items.min(initial=self.n_items)) for user in people]
        scores = self.experts(names, lengths, flat)
        return self.builder.build(
            seen_by(inside, self.n_items),
            {name: torch.from_numpy(scores[name]) for name in names},
            {name: np.array(self._unread(lowest, name)) for name in names},
            {fit_id: self.form.network(fit_id, people, tasks) for fit_id, tasks in fits.items()},
        )

    def _unread(self, lowest: Sequence[int], name: str) -> list[bool]:
        """Return whether an expert knows no item of a history, given its lowest item.

        Of a history without items that is the end of the catalogue.
        """
        known = len(self.parts.experts[name].bias)
        return [index >= known for index in lowest]

    def silent(self, user: UserHistory, point: str) -> list[str]:
        """Return experts of a point that know none of the history: popularity replaces them."""
        lowest = [int(user.items.min(initial=self.n_items))]
        return [
            name
            for name in self.parts.experts_of(point)
            if self._unread(lowest, name)[0] and not self.parts.experts[name].bias.any()
        ]

    def experts(self, names: Sequence[str], lengths: Ints, items: Ints) -> dict[str, Floats]:
        """Return scores ``[people, N]`` of experts, 0 for items that came after they were fitted.

        Args:
            names: The experts.
            lengths: Length of each history ``[people]``.
            items: Histories end to end.
        """
        known = {name: len(self.parts.experts[name].bias) for name in names}
        scores: dict[str, Floats] = {}
        for count in set(known.values()):
            same = [name for name in names if known[name] == count]
            scores |= self._over(count, same, lengths, items)
        return scores

    def _over(
        self, count: int, names: Sequence[str], lengths: Ints, items: Ints
    ) -> dict[str, Floats]:
        """As `experts`, of those that know the first `count` items of the catalogue."""
        if count < self.n_items:
            owner = np.repeat(np.arange(len(lengths)), lengths)
            lengths = np.bincount(owner[items < count], minlength=len(lengths))
            items = items[items < count]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        scores = self.form.expert_scores(names, starts, items)
        if count == self.n_items:
            return scores
        more = (0, 0), (0, self.n_items - count)
        return {name: np.pad(values, more) for name, values in scores.items()}

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
