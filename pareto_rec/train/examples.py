"""The examples of a pack's steps: each candidate draws its own, whatever company it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.models.base import RATING
from pareto_rec.seeds import generator
from pareto_rec.train.batches import Batch, draw
from pareto_rec.train.data import TrainData
from pareto_rec.train.packtasks import PackTasks
from pareto_rec.train.spec import POPULARITY, TrainSpec


class Examples:
    """Draws the examples of a pack."""

    def __init__(
        self,
        common: TrainSpec,
        seeds: Sequence[int],
        data: TrainData,
        tasks: PackTasks,
        needs: frozenset[str],
    ) -> None:
        """Prepare.

        Args:
            common: Training variables that the candidates share.
            seeds: One per candidate.
            data: What training reads.
            tasks: Tasks of the config, who draw shown rows besides.
            needs: What the losses need.
        """
        self.common, self.seeds, self.data, self.tasks, self.needs = (
            common,
            seeds,
            data,
            tasks,
            needs,
        )
        self.frequency = np.cumsum(data.facts.log_frequency.exp().cpu().numpy())

    def draw(self, first: int) -> dict[str, Tensor]:
        """Examples of the steps until the next look, ``[P, T, ...]`` each."""
        common, sequences = self.common, self.data.sequences
        drawn: list[dict[str, NDArray[Any]]] = []
        for seed in self.seeds:
            rng = generator(seed, "batches", first)
            batch = draw(
                sequences,
                rng,
                steps=common.check_every,
                batch=common.batch,
                history=common.history,
                places=common.places,
                horizon=common.horizon,
            )
            arrays = {name: getattr(batch, name) for name in ("histories", "at", "targets")}
            uniform = rng.random((common.check_every, common.negatives)) * self.frequency[-1]
            arrays["negatives"] = np.searchsorted(self.frequency, uniform)
            arrays |= {"liked": batch.liked} | self._optional(batch)
            drawn.append(arrays | self.tasks.draw(sequences, seed, first))
        return {
            name: torch.from_numpy(np.stack([one[name] for one in drawn])).to(self.data.device)
            for name in drawn[0]
        }

    def _optional(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """What only some losses need, of the examples' targets and of their users ``[T, B]``."""
        found: dict[str, NDArray[Any]] = {}
        sequences, people = self.data.sequences, self.data.people
        if RATING in self.needs and sequences.ratings is not None:
            mean, deviation = self.stars()
            found["rating"] = (sequences.ratings[batch.rows] - np.float32(mean)) / deviation
        if sequences.users is not None and people is not None:
            users = sequences.users[batch.rows[..., 0, 0]]
            if "group" in self.needs:
                found["group"] = people.groups[self.common.group][users]
            if "taste" in self.needs:
                found["taste"] = people.tastes[users]
            if "reference" in self.needs and self.common.reference != POPULARITY:
                found["users"] = users
        return found

    def stars(self) -> tuple[float, float]:
        """Mean and deviation of the training ratings."""
        ratings = self.data.sequences.ratings
        assert ratings is not None
        return float(ratings.mean()), max(float(ratings.std()), 1e-6)
