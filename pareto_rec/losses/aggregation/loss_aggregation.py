"""From the losses of a pack to the gradients of its parameters, by each candidate's way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.losses.aggregation.base import AggregationStep, Aggregator, State, Vector


class LossAggregation:
    """The aggregators of a pack's candidates and what they remember."""

    def __init__(
        self,
        ways: Sequence[Aggregator],
        preferences: Vector,
        seeds: Sequence[int],
        *,
        primary: int = 0,
    ) -> None:
        """Before the first step.

        Args:
            ways: One per candidate ``P``.
            preferences: ``[P, M]``.
            seeds: One per candidate.
            primary: Place of the loss that is never traded away.
        """
        self.ways, self.preferences, self.seeds, self.primary = ways, preferences, seeds, primary
        self.states: list[State] = [way.start(preferences.shape[1]) for way in ways]
        self.by_gradient = any(way.needs_gramian for way in ways)

    def backward(
        self, step: int, losses: Tensor, ideal: Vector, params: Mapping[str, Tensor]
    ) -> NDArray[np.bool_]:
        """Set ``.grad`` of every parameter that a loss depends on.

        One backward pass for all losses together, or one for each where a candidate's way looks at
        their gradients.

        Args:
            step: Number of the step, from 0.
            losses: ``[P, M]``, divided by their units.
            ideal: ``[P, M]`` smallest possible losses in the same units.
            params: Stacked parameters, a leading dimension ``P``.

        Returns:
            ``[P]``: whether losses, and gradients where they were looked at, are finite. Where
            they are not the preference stands in for the weights.
        """
        values = losses.detach().cpu().double().numpy()
        finite = np.isfinite(values).all(axis=1)
        gradients: list[tuple[Tensor | None, ...]] = []
        gramians: Vector | None = None
        if self.by_gradient:
            gradients = _gradients(losses, list(params.values()))
            gramians = _gramians(gradients, len(values)).cpu().numpy()
            finite &= np.isfinite(gramians).all(axis=(1, 2))
        weights = self.preferences.copy()
        for index in np.flatnonzero(finite).tolist():
            moment = AggregationStep(
                values[index],
                self.preferences[index],
                ideal[index],
                None if gramians is None else gramians[index],
                self.primary,
                step,
                self.seeds[index],
            )
            weights[index], self.states[index] = self.ways[index].weights(
                moment, self.states[index]
            )
        column = torch.from_numpy(weights).to(losses)
        if self.by_gradient:
            _compose(gradients, column, params)
        else:
            (column * losses).sum().backward()  # type: ignore[no-untyped-call] # torch's own
        return np.asarray(finite)


def _gradients(losses: Tensor, params: Sequence[Tensor]) -> list[tuple[Tensor | None, ...]]:
    """Gradients of each loss; candidates share no parameter, so that their sum is enough."""
    count = losses.shape[1]
    return [
        torch.autograd.grad(
            losses[:, place].sum(), params, retain_graph=place + 1 < count, allow_unused=True
        )
        for place in range(count)
    ]


def _gramians(gradients: Sequence[Sequence[Tensor | None]], pack: int) -> Tensor:
    """``[P, M, M]`` inner products over all parameters, added up in float64."""
    count = len(gradients)
    total = torch.zeros(pack, count, count, dtype=torch.float64)
    for of_one_parameter in zip(*gradients, strict=True):
        places = [m for m, gradient in enumerate(of_one_parameter) if gradient is not None]
        if not places:
            continue
        rows = torch.stack([g.flatten(1) for g in of_one_parameter if g is not None], dim=1)
        products = torch.bmm(rows, rows.transpose(1, 2)).double().cpu()
        total[:, torch.tensor(places)[:, None], torch.tensor(places)] += products
    return total


def _compose(
    gradients: Sequence[Sequence[Tensor | None]], weights: Tensor, params: Mapping[str, Tensor]
) -> None:
    """``.grad = sum_m w_m g_m`` for every parameter."""
    for place, param in enumerate(params.values()):
        view = (-1, *[1] * (param.dim() - 1))
        parts = [
            weights[:, m].view(view) * gradient
            for m, of_one_loss in enumerate(gradients)
            if (gradient := of_one_loss[place]) is not None
        ]
        param.grad = torch.stack(parts).sum(0) if parts else None
