"""Examples of a pack's steps: one generator per candidate, so draws do not depend on the pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.core.seeds import generator
from pareto_rec.training.batches import Batch, draw
from pareto_rec.training.data import TrainData
from pareto_rec.training.pack_tasks import TaskHeads
from pareto_rec.training.spec import POPULARITY, TrainSpec


class Examples:
    """Draws the examples of a pack."""

    def __init__(
        self,
        common: TrainSpec,
        horizons: Sequence[int],
        seeds: Sequence[int],
        data: TrainData,
        tasks: TaskHeads,
        needs: frozenset[str],
    ) -> None:
        """Set up one generator per candidate.

        Args:
            common: Training variables that the candidates share, with the longest horizon.
            horizons: One per candidate; targets of shorter ones are padded.
            seeds: One per candidate.
            data: What training reads.
            tasks: Trained tasks, which draw shown rows besides.
            needs: What the losses need.
        """
        self.common, self.horizons, self.seeds = common, horizons, seeds
        self.data, self.tasks, self.needs = data, tasks, needs
        self.frequency = np.cumsum(data.facts.log_frequency.exp().cpu().numpy())

    def draw(self, first: int) -> dict[str, Tensor]:
        """Return examples of the steps until the next look, ``[P, T, ...]`` each."""
        common, sequences = self.common, self.data.sequences
        drawn: list[dict[str, NDArray[Any]]] = []
        for seed, horizon in zip(self.seeds, self.horizons, strict=True):
            rng = generator(seed, "batches", first)
            batch = draw(
                sequences,
                rng,
                steps=common.check_every,
                batch=common.batch,
                history=common.history,
                positions=common.positions,
                horizon=horizon,
            )
            arrays = {"histories": batch.histories, "at": batch.at}
            uniform = rng.random((common.check_every, common.negatives)) * self.frequency[-1]
            arrays["negatives"] = np.searchsorted(self.frequency, uniform)
            labels = self.tasks.of_targets(batch.rows)
            arrays |= self._padded({"targets": (batch.targets, -1)})
            arrays |= self._padded({name: (of, 0) for name, of in labels.items()})
            arrays |= self._optional(batch)
            drawn.append(arrays | self.tasks.draw(sequences, seed, first))
        return {
            name: torch.from_numpy(np.stack([one[name] for one in drawn])).to(self.data.device)
            for name in drawn[0]
        }

    def _optional(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Return what only some losses need of the examples' users ``[T, B]``."""
        inputs: dict[str, NDArray[Any]] = {}
        sequences, people = self.data.sequences, self.data.people
        if sequences.users is not None and people is not None:
            users = sequences.users[batch.rows[..., 0, 0]]
            if "group" in self.needs:
                inputs["group"] = people.groups[self.common.group][users]
            if "taste" in self.needs:
                inputs["taste"] = people.tastes[users]
            if "reference" in self.needs and self.common.reference != POPULARITY:
                inputs["users"] = users
        return inputs

    def _padded(self, given: Mapping[str, tuple[NDArray[Any], int]]) -> dict[str, NDArray[Any]]:
        """Pad arrays ``[T, B, Q, H]`` to the longest horizon with a value each."""
        padded = {}
        for name, (array, value) in given.items():
            missing = self.common.horizon - array.shape[-1]
            width = [(0, 0)] * (array.ndim - 1) + [(0, missing)]
            padded[name] = np.pad(array, width, constant_values=value)
        return padded
