"""Training data of a stage as tensors: rows, item features and item facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.data.schema import Stage
from pareto_rec.losses.base import ItemFacts
from pareto_rec.tasks import Task
from pareto_rec.training.batches import People, Sequences, last_items
from pareto_rec.training.data import TrainData
from pareto_rec.training.item_features import Facts
from pareto_rec.training.pack_tasks import TaskLabels
from pareto_rec.training.spec import MOST_HISTORY
from pareto_rec.training.tuned.source import TextSource


def training_data(
    stage: Stage,
    learn: Stage,
    vectors: NDArray[np.floating[Any]],
    facts: Facts,
    *,
    gains: Mapping[str, NDArray[np.float32]],
    tasks: Sequence[Task],
    texts: TextSource | None,
    device: torch.device,
) -> TrainData:
    """Return what fits learn from, reference policies apart.

    Args:
        stage: Whose histories validation scores.
        learn: Whose training rows are learnt from.
        vectors: What models read of the items ``[N, D]``.
        facts: Facts about items.
        gains: Gains that losses weigh targets by ``[N]`` each.
        tasks: Tasks of the config.
        texts: Features of other depths and of tuned layers; None where no text is read.
        device: Where tensors live.
    """

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array)).to(device)

    categories, popularity, frequency = (tensor(part) for part in facts)
    return TrainData(
        Sequences.of(learn.train),
        tensor(vectors),
        ItemFacts(
            categories, popularity, frequency, {name: tensor(gain) for name, gain in gains.items()}
        ),
        tensor(last_items(stage, MOST_HISTORY)),
        device,
        People.of(learn),
        texts=texts,
        labels=TaskLabels.of(learn, tasks),
    )
