"""Reference policies for the loss ``reference_kl``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pareto_rec.core.errors import BadRequestError
from pareto_rec.evaluation.scorers import ExpertScores
from pareto_rec.training.data import Fit, TrainData


def check(names: Collection[str], *, users: int, items: int, all_scores: bool) -> None:
    """Refuse policies where the scores of all users are not held.

    Args:
        names: What is asked for.
        users: How many learn.
        items: Size of the catalogue.
        all_scores: Whether the scores of all users are held.

    Raises:
        BadRequestError: If they are not, and something is asked for.
    """
    if names and not all_scores:
        raise BadRequestError(
            f'reference = "{min(names)}" needs the scores of all {users:,} users for '
            f'{items:,} items, which is too many: use "popularity"'
        )


def of_experts(
    names: Collection[str], experts: Mapping[str, ExpertScores], device: torch.device
) -> dict[str, Tensor]:
    """Compute the log-softmax ``[users, N]`` of expert scores of deviation 1 per user."""
    policies = {}
    for name in sorted(set(names) & set(experts)):
        scores = torch.from_numpy(np.array(experts[name][:])).to(device)
        deviation = scores.std(1, correction=0, keepdim=True).clamp(min=1e-6)
        policies[name] = torch.log_softmax(scores / deviation, dim=-1)
    return policies


def with_fits(names: Collection[str], fits: Mapping[str, Fit], data: TrainData) -> TrainData:
    """Add the policies of fits to the data: the softmax of their relevance, temperature and all."""
    policies = {}
    for name in sorted(set(names) & set(fits)):
        head, states = data.head(fits[name])
        policies[name] = head.scores(states, ()).relevance.log_softmax(-1)
    return replace(data, references={**data.references, **policies}) if policies else data
