"""From histories to the scorers of the serving policy; what does not depend on people is ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.bundle.linear import handy, scores_of
from pareto_rec.bundle.parts import Parts
from pareto_rec.models.base import item_table, tower
from pareto_rec.models.scoring import log_natural, relevance_states, user_states
from pareto_rec.policy import (
    Scorers,
    Serving,
    Similarity,
    standardise,
    unseen_count,
    with_network,
)
from pareto_rec.tasks import PREFIX
from pareto_rec.train.data import Fit

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
POPULARITY = "popularity"
FEW = 32_768  # scores standardised at once; torch cuts more among threads, in another order


@dataclass(frozen=True)
class Known:
    """What of a person the scores depend on.

    Attributes:
        items: Items of the catalogue, oldest first, and beyond its end rows of `vectors`.
        vectors: What networks read of items that are in no catalogue ``[M, D]``; None without.
    """

    items: Ints
    vectors: Floats | None = None


@dataclass(frozen=True)
class Said:
    """What a network says ``[people, N]``.

    Attributes:
        relevance: Logits; zeros for a fit on tasks of which no loss ranks.
        liked: Logits of liked given watched, if they are wanted.
        tasks: Task of the config -> log of what it predicts.
    """

    relevance: Tensor
    liked: Tensor | None
    tasks: Mapping[str, Tensor]

    @classmethod
    def of(cls, fit: Fit, logits: Mapping[str, Tensor]) -> Said:
        """What a fit says.

        Args:
            fit: The fit.
            logits: ``relevance``, ``task:NAME`` for every task, and ``liked`` if it is wanted.
        """
        tasks = {}
        if fit.shape.tasks:
            params = {name: part.unsqueeze(0) for name, part in fit.params.items()}
            tasks = {
                name: log_natural(params, PREFIX + name, logits[PREFIX + name].unsqueeze(0))[0]
                for name in fit.shape.tasks
            }
        relevance = logits["relevance"]
        if fit.spec.by_tasks_alone:
            relevance = torch.zeros_like(relevance)
        return cls(relevance, logits.get("liked"), tasks)


def outputs_of(fit: Fit, *, liked: bool = True) -> list[str]:
    """Names of the towers of a fit whose logits are served."""
    own = [PREFIX + name for name in fit.shape.tasks]
    return ["relevance", *(["liked"] if liked else []), *own]


class Form(Protocol):
    """The arithmetic of a bundle in one of its forms; scores are over the whole catalogue."""

    def expert_scores(self, names: Sequence[str], starts: Ints, items: Ints) -> dict[str, Floats]:
        """Scores ``[people, N]`` of some experts of equal catalogues by name.

        Histories are given as `ItemModel.score` takes them.
        """

    def network(self, fit_id: str, people: Sequence[Known], *, liked: bool) -> Said:
        """What a fit says, and of liked given watched if that is wanted."""


class Head:
    """A fit with its item vectors computed: what of it does not depend on people."""

    def __init__(self, fit: Fit, vectors: Tensor) -> None:
        """Compute the item vectors.

        Args:
            fit: The fit.
            vectors: What networks read of the items ``[N, D]``.
        """
        self.fit = fit
        self.params = {name: part.unsqueeze(0) for name, part in fit.params.items()}
        self.temperature = torch.tensor([fit.spec.temperature])
        with torch.inference_mode():
            self.table = item_table(self.params, vectors, None)
        self.bias = {task: self.params[f"{task}.item_bias"] for task in outputs_of(fit)}

    def rows(self, people: Sequence[Known]) -> tuple[Tensor, Tensor]:
        """The item vectors that histories name, and the histories as places among them.

        Returns:
            Vectors ``[1, R, D]`` and places ``[1, people, L]``, right-aligned, -1 where there is
            none. Only these rows enter the user encoder, not the whole catalogue.
        """
        length = self.fit.spec.history
        padded = np.full((len(people), length), -1, dtype=np.int64)
        more: list[Floats] = []
        n_items = self.table.shape[1]
        for place, one in enumerate(people):
            last = one.items[-length:].copy()
            if one.vectors is not None:
                last[last >= n_items] += sum(len(part) for part in more)
                more.append(one.vectors)
            padded[place, length - len(last) :] = last
        named, places = _distinct(padded.ravel())
        start = int(named[0] < 0)
        table = self.table
        if more:
            read = torch.from_numpy(np.concatenate(more))
            table = torch.cat([table, (read @ self.params["item.project"][0]).unsqueeze(0)], 1)
        rows = table.index_select(1, torch.from_numpy(named[start:]))
        return rows, torch.from_numpy(places.reshape(1, *padded.shape) - start)

    def states(self, people: Sequence[Known]) -> Tensor:
        """States ``[1, people, D]`` of the shared bottom."""
        rows, histories = self.rows(people)
        if not rows.shape[1]:  # nobody has a history
            rows = torch.zeros(1, 1, self.table.shape[2])
        last = torch.full((1, len(people), 1), histories.shape[2] - 1)
        return user_states(self.params, self.fit.shape, rows, histories, last)

    def scaled(self, task: str, states: Tensor) -> Tensor:
        """What is multiplied with item vectors to give a task's logits ``[1, people, D]``."""
        if task == "relevance":
            return relevance_states(self.params, states, self.temperature)
        wanted: Tensor = tower(self.params, task, states) * states.shape[-1] ** -0.5
        return wanted

    def logits(self, task: str, states: Tensor) -> Tensor:
        """Logits ``[people, N]`` of a task."""
        across = self.table.transpose(1, 2)
        return torch.baddbmm(self.bias[task][:, None], self.scaled(task, states), across)[0]

    def all_logits(self, tasks: Sequence[str], states: Tensor) -> dict[str, Tensor]:
        """As `logits`, of several tasks by one product, so that item vectors are read once."""
        scaled = torch.cat([self.scaled(task, states) for task in tasks], 1)
        found = torch.bmm(scaled, self.table.transpose(1, 2)).view(len(tasks), states.shape[1], -1)
        return {task: one + self.bias[task] for task, one in zip(tasks, found, strict=True)}


def _distinct(values: Ints) -> tuple[Ints, Ints]:
    """Distinct values in order and the place of each value among them: a lean `np.unique`."""
    order = values.argsort()
    ordered = values[order]
    new = np.ones(len(values), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    places = np.empty_like(order)
    places[order] = np.cumsum(new) - 1
    return ordered[new], places


class TorchForm:
    """The bundle as it was trained, in float32."""

    def __init__(self, parts: Parts) -> None:
        self.experts = {name: handy(model) for name, model in parts.experts.items()}
        self.heads = {
            fit_id: Head(fit, torch.from_numpy(parts.vectors_of(fit_id)))
            for fit_id, fit in parts.fits.items()
        }

    def expert_scores(self, names: Sequence[str], starts: Ints, items: Ints) -> dict[str, Floats]:
        """As `Form.expert_scores`."""
        return scores_of({name: self.experts[name] for name in names}, starts, items)

    def network(self, fit_id: str, people: Sequence[Known], *, liked: bool) -> Said:
        """As `Form.network`."""
        head = self.heads[fit_id]
        with torch.inference_mode():
            states = head.states(people)
            wanted = outputs_of(head.fit, liked=liked)
            return Said.of(head.fit, head.all_logits(wanted, states))


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
        base = Scorers(experts, None, None, None, seen, self.popularity, self.similarity)
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
            self.popularity, self.similarity,
        )  # fmt: skip
        return base, Serving({POPULARITY: 1.0}, mmr=serving.mmr, depth=serving.depth)


def known_people(parts: Parts) -> list[Known]:
    """Every known user with the history that lists are made from."""
    rows = parts.history
    counts = np.bincount(rows.user, minlength=len(parts.users))
    return [Known(items) for items in np.split(rows.item, np.cumsum(counts)[:-1])]
