"""Scoring engine: from histories to what a serving setting fuses.

The engine answers the requests of a service and is what measured latency times, so that what is
measured is what is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from pareto_rec.ranking.backends import Backend, Floats, Ints, UserHistory
from pareto_rec.ranking.builder import ScorerBuilder, seen_by
from pareto_rec.ranking.scorers import Scorers


class ScoringEngine:
    """Engine that turns histories into the scorers of the serving policy.

    Attributes:
        form: Scores of baselines and networks.
        builder: Makes what is fused.
        known: Expert name -> how many items it knows: the first ones of the catalogue.
        n_items: Size of the catalogue.
    """

    def __init__(self, form: Backend, builder: ScorerBuilder, known: Mapping[str, int]) -> None:
        self.form, self.builder, self.known = form, builder, known
        self.n_items = len(builder.popularity)

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
        scores, device = self.experts(names, lengths, flat), self.builder.popularity.device
        return self.builder.build(
            seen_by(inside, self.n_items).to(device),
            {name: torch.from_numpy(scores[name]).to(device) for name in names},
            {name: np.array(self.unread(lowest, name)) for name in names},
            {fit_id: self.form.network(fit_id, people, tasks) for fit_id, tasks in fits.items()},
        )

    def unread(self, lowest: Sequence[int], name: str) -> list[bool]:
        """Return whether an expert knows no item of a history, given its lowest item.

        Of a history without items that is the end of the catalogue.
        """
        return [index >= self.known[name] for index in lowest]

    def experts(self, names: Sequence[str], lengths: Ints, items: Ints) -> dict[str, Floats]:
        """Return scores ``[people, N]`` of experts, 0 for items that came after they were fitted.

        Args:
            names: The experts.
            lengths: Length of each history ``[people]``.
            items: Histories end to end.
        """
        scores: dict[str, Floats] = {}
        for count in {self.known[name] for name in names}:
            same = [name for name in names if self.known[name] == count]
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
