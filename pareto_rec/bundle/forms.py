"""The arithmetic of a bundle: what its experts and networks say of people."""

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
from pareto_rec.tasks import PREFIX
from pareto_rec.train.data import Fit

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


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
