"""Fusion: what is summed, with which weights, for many serving settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from pareto_rec.ranking.scorers import Scorers, ServingParams
from pareto_rec.ranking.ties import HIDDEN
from pareto_rec.tasks import RELEVANCE


@dataclass(frozen=True)
class Part:
    """One of the scores that are summed; of 1 row where it is that of all users.

    Attributes:
        scores: ``[users, N]`` or ``[1, N]``.
        weights: Of each setting ``[users, S]`` or ``[1, S]``.
    """

    scores: Tensor
    weights: Tensor


def parts(scorers: Scorers, settings: Sequence[ServingParams], rows: slice) -> list[Part]:
    """Return what is summed to the fused scores of some users; boosts only where one is asked for.

    Args:
        scorers: What is fused.
        settings: Serving variables, S of them.
        rows: The users.
    """
    device = scorers.seen.device

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=device).view(1, -1)

    def fusion(name: str) -> Tensor:
        return column([float(setting.fusion.get(name, 0.0)) for setting in settings])

    found = [Part(scores[rows], fusion(name)) for name, scores in scorers.experts.items()]
    for name, network in scorers.networks.items():
        powers = torch.tensor(
            [powers_of(network.tasks, setting) for setting in settings], device=device
        )
        # a product of powers is standardised without computing it over all items: the variance of
        # a weighted sum of logs follows from the mean products of these logs
        weights = fusion(name) / deviations(network.products[rows], powers)
        values = (network.relevance, *network.tasks.values())
        found += [
            Part(one[rows], weights * power) for one, power in zip(values, powers.T, strict=True)
        ]
    # penalty and boosts are scorers that do not depend on the user
    penalties = column([-float(setting.popularity_penalty) for setting in settings])
    found.append(Part(scorers.popularity.view(1, -1), penalties))
    asked = {name for setting in settings for name, weight in setting.boosts.items() if weight}
    for name in sorted(asked):
        boosts = column([float(setting.boosts.get(name, 0.0)) for setting in settings])
        found.append(Part(scorers.boosts[name].view(1, -1), boosts))
    return found


def fuse(scorers: Scorers, settings: Sequence[ServingParams], rows: slice) -> Tensor:
    """Compute fused scores ``[users, S, N]``, `HIDDEN` at seen items: one matrix product a user."""
    seen = scorers.seen[rows]
    summed = parts(scorers, settings, rows)
    weights = torch.stack([part.weights.expand(len(seen), -1) for part in summed], 2)
    scores = torch.stack([part.scores.expand(len(seen), -1) for part in summed], 1)
    return torch.bmm(weights, scores).masked_fill_(seen.unsqueeze(1), HIDDEN)


def distinct(settings: Sequence[ServingParams]) -> tuple[list[ServingParams], list[int]]:
    """Return settings that differ before re-ranking, and which of them each setting is."""
    index: dict[str, int] = {}
    fused: list[ServingParams] = []
    which = []
    for setting in settings:
        powers, boosts = sorted(setting.exponents.items()), sorted(setting.boosts.items())
        key = repr((setting.fusion, powers, setting.popularity_penalty, boosts))
        if key not in index:
            index[key] = len(fused)
            fused.append(setting)
        which.append(index[key])
    return fused, which


def powers_of(tasks: Iterable[str], setting: ServingParams) -> list[float]:
    """Return exponents of relevance and of each of the given tasks."""
    own = [setting.exponents.get(name, 0.0) for name in tasks]
    return [setting.exponents.get(RELEVANCE, 1.0), *own]


def deviations(products: Tensor, powers: Tensor) -> Tensor:
    """Compute the deviation of the log of a product of powers over unseen items ``[users, S]``.

    Args:
        products: Mean products of the centred logs of its factors ``[users, A, A]``.
        powers: ``[S, A]``.
    """
    powers = powers.to(products.dtype)
    pairs = (powers.unsqueeze(2) * powers.unsqueeze(1)).flatten(1)
    terms = products.flatten(1).unsqueeze(1) * pairs
    # added one by one: a matrix product is rounded otherwise for another number of settings
    return reduce(torch.add, terms.unbind(2)).clamp(min=1e-12).sqrt()
