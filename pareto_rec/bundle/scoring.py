"""From histories to the scorers of the serving policy; what does not depend on people is ready."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pareto_rec.bundle.forms import Floats, Form, Ints, Known
from pareto_rec.bundle.parts import Parts
from pareto_rec.data.ties import tie_ranks
from pareto_rec.policy import (
    Scorers,
    Serving,
    Similarity,
    Ties,
    standardise,
    unseen_count,
    with_network,
)

POPULARITY = "popularity"
FEW = 32_768  # scores standardised at once; torch cuts more among threads, in another order


class Engine:
    """Makes the scorers of the serving policy out of histories."""

    def __init__(self, parts: Parts, form: Form) -> None:
        self.parts, self.form = parts, form
        self.n_items = len(parts.items)
        counts = parts.popularity
        # as pareto_rec.train.facts and pareto_rec.evaluate.evaluator have them
        known = np.log1p(counts) / max(np.log1p(counts.max(initial=0)), 1e-9)
        known = known.astype(np.float32)
        standard = (known - known.mean()) / max(known.std(), 1e-9)
        self.popularity = torch.from_numpy(standard)
        norm = np.linalg.norm(parts.items.categories, axis=1, keepdims=True)
        unit = (parts.items.categories / np.where(norm > 0, norm, 1)).astype(np.float32)
        self.similarity = Similarity.of(torch.from_numpy(unit))
        self.ties = Ties.of(tie_ranks(parts.items, parts.train))

    def scorers(
        self, people: Sequence[Known], names: Sequence[str], fit_id: str | None, *, liked: bool
    ) -> Scorers:
        """What the policy fuses.

        Args:
            people: Whose lists are made.
            names: Experts that are fused.
            fit_id: The network; None without one.
            liked: Whether the second task has a say.
        """
        inside = [one.items[one.items < self.n_items] for one in people]
        lengths = np.array([len(items) for items in inside])
        flat = np.concatenate([*inside, np.empty(0, dtype=np.int64)])
        met = np.zeros((len(people), self.n_items), dtype=bool)
        met[np.repeat(np.arange(len(people)), lengths), flat] = True
        seen = torch.from_numpy(met)
        lowest = [int(one.items.min(initial=self.n_items)) for one in people]
        experts = {
            name: self._or_popularity(scores, self._unread(lowest, name))
            for name, scores in self._standardised(names, lengths, flat, seen).items()
        }
        known = seen, self.popularity, self.similarity
        base = Scorers(experts, None, None, None, *known, ties=self.ties)
        if fit_id is None:
            return base
        said = self.form.network(fit_id, people, liked=liked)
        return with_network(base, said.relevance, said.liked, said.tasks)

    def _standardised(
        self, names: Sequence[str], lengths: Ints, items: Ints, seen: Tensor
    ) -> dict[str, Tensor]:
        """Standardised scores of experts; of few people, all experts at once."""
        found, count = self.experts(names, lengths, items), unseen_count(seen)
        if len(names) * seen.numel() > FEW:
            return {n: standardise(torch.from_numpy(found[n]), seen, count) for n in names}
        if not names:
            return {}
        scores = torch.stack([torch.from_numpy(found[name]) for name in names])
        return dict(zip(names, standardise(scores, seen, count).unbind(), strict=True))

    def _unread(self, lowest: Sequence[int], name: str) -> list[bool]:
        """Whether an expert knows no item of a history, whose first item in the catalogue is given.

        Of a history without items that is the end of the catalogue.
        """
        known = len(self.parts.experts[name].bias)
        return [place >= known for place in lowest]

    def _or_popularity(self, scores: Tensor, unread: Sequence[bool]) -> Tensor:
        """Standardised scores ``[people, N]``; popularity where an expert has nothing to say.

        As `pareto_rec.evaluate.sources.UserScorers.take` has it for those without a history.
        """
        if not any(unread):
            return scores
        silent = torch.tensor(unread)[:, None] & (scores == 0).all(dim=1, keepdim=True)
        return torch.where(silent, self.popularity, scores)

    def silent(self, one: Known, point: str) -> list[str]:
        """Experts of a point that popularity stands in for, as they know none of the history."""
        lowest = [int(one.items.min(initial=self.n_items))]
        return [
            name
            for name in self.parts.experts_of(point)
            if self._unread(lowest, name)[0] and not self.parts.experts[name].bias.any()
        ]

    def experts(self, names: Sequence[str], lengths: Ints, items: Ints) -> dict[str, Floats]:
        """Scores ``[people, N]`` of experts, 0 for items that came after they were fitted.

        Args:
            names: The experts.
            lengths: Length of each history ``[people]``.
            items: Histories end to end.
        """
        known = {name: len(self.parts.experts[name].bias) for name in names}
        found: dict[str, Floats] = {}
        for count in set(known.values()):
            same = [name for name in names if known[name] == count]
            found |= self._over(count, same, lengths, items)
        return found

    def _over(
        self, count: int, names: Sequence[str], lengths: Ints, items: Ints
    ) -> dict[str, Floats]:
        """As `experts`, of those that know the first `count` items of the catalogue."""
        if count < self.n_items:
            owner = np.repeat(np.arange(len(lengths)), lengths)
            lengths = np.bincount(owner[items < count], minlength=len(lengths))
            items = items[items < count]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        found = self.form.expert_scores(names, starts, items)
        if count == self.n_items:
            return found
        more = (0, 0), (0, self.n_items - count)
        return {name: np.pad(scores, more) for name, scores in found.items()}

    def of_point(self, people: Sequence[Known], point: str) -> tuple[Scorers, Serving]:
        """Scorers and serving variables of an operating point."""
        names, fit_id, liked = self.needs(point)
        return self.scorers(people, names, fit_id, liked=liked), self.parts.serving(point)

    def needs(self, point: str) -> tuple[tuple[str, ...], str | None, bool]:
        """What the lists of a point are made from: experts, the network, the second task or not."""
        wants_liked = self.parts.serving(point).liked_exponent != 0
        return tuple(self.parts.experts_of(point)), self.parts.network(point), wants_liked

    def popular(self, people: Sequence[Known], serving: Serving) -> tuple[Scorers, Serving]:
        """What answers people without a history: popularity, re-ranked as the point has it."""
        seen = torch.zeros(len(people), self.n_items, dtype=torch.bool)
        scores = self.popularity.expand(len(people), -1)
        base = Scorers(
            {POPULARITY: standardise(scores, seen)}, None, None, None, seen,
            self.popularity, self.similarity, ties=self.ties,
        )  # fmt: skip
        return base, Serving({POPULARITY: 1.0}, mmr=serving.mmr, depth=serving.depth)


def known_people(parts: Parts) -> list[Known]:
    """Every known user with the history that lists are made from."""
    rows = parts.history
    counts = np.bincount(rows.user, minlength=len(parts.users))
    return [Known(items) for items in np.split(rows.item, np.cumsum(counts)[:-1])]
