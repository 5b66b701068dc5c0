"""One network for all preferences: loss weights drawn at every step, and read through FiLM.

A perceptron reads the shares v of the losses and says, for every tower, how much each unit of its
hidden layer is scaled and shifted, and in which direction of the item space its output is moved:

    h = (1 + s(v)) (x W + b) + t(v),    y = x + gelu(h) V + d(v)

All of it is linear in what the tower holds already, so that at a preference the network *is* an
ordinary fit: W' = W (1 + s), b' = b (1 + s) + t, and the product of d with the item vectors is
added to the biases of the items. Training uses the very same parameters (`folded`), so that the
ordinary fit and the conditioned network cannot differ.

Sources: Perez et al., FiLM: visual reasoning with a general conditioning layer, AAAI 2018;
Dosovitskiy and Djolonga, You only train once: loss-conditional training of deep networks, ICLR
2020; Ruchte and Grabocka, Scalable Pareto front approximation for deep multi-objective learning
(COSMOS), ICDM 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.decisive.cases import centre_of, weights_at
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.models.base import Params, init_linear, item_table
from pareto_rec.search.space import Simplex
from pareto_rec.tasks import RELEVANCE
from pareto_rec.training.data import Fit, Monitor, TrainData, check_losses
from pareto_rec.training.pack import Pack
from pareto_rec.training.spec import TrainSpec

HIDDEN = 32  # units of the perceptron that reads preferences
PREFIX = "film."  # before the names of its parameters


def initial_film(
    losses: int, towers: Sequence[str], width: int, source: torch.Generator
) -> dict[str, Tensor]:
    """Return parameters with which every preference gives the same network.

    Args:
        losses: How many preferences speak of.
        towers: Names of the towers.
        width: Of user and item vectors.
        source: Of the random draws.
    """
    params = {
        f"{PREFIX}in": init_linear(losses, HIDDEN, source),
        f"{PREFIX}in_bias": torch.zeros(HIDDEN),
    }
    for tower in towers:
        params[f"{PREFIX}{tower}.out"] = torch.zeros(HIDDEN, 3 * width)
        params[f"{PREFIX}{tower}.out_bias"] = torch.zeros(3 * width)
    return params


def folded(
    params: Params,
    towers: Sequence[str],
    preference: Tensor,
    features: Tensor,
    temperature: Tensor,
) -> dict[str, Tensor]:
    """Return the parameters of the ordinary network at a preference.

    Args:
        params: Stacked parameters ``[P, ...]``, those of FiLM among them.
        towers: Names of the towers.
        preference: Shares of the losses ``[P, M]``.
        features: Features of the items ``[N, F]``.
        temperature: Of the softmax ``[P]``.
    """
    plain = {name: value for name, value in params.items() if not name.startswith(PREFIX)}
    table = item_table(plain, features, None)
    hidden = torch.tanh(
        torch.baddbmm(
            params[f"{PREFIX}in_bias"][:, None], preference[:, None], params[f"{PREFIX}in"]
        )
    )
    for tower in towers:
        read = torch.baddbmm(
            params[f"{PREFIX}{tower}.out_bias"][:, None], hidden, params[f"{PREFIX}{tower}.out"]
        )
        scale, shift, direction = read.chunk(3, dim=-1)  # [P, 1, D] each
        unit = table.shape[-1] ** -0.5
        towards = (table @ direction.transpose(1, 2)).squeeze(-1) * unit
        if tower == RELEVANCE:
            towards = towards / temperature.view(-1, 1)
        plain[f"{tower}.in"] = params[f"{tower}.in"] * (1 + scale)
        plain[f"{tower}.in_bias"] = params[f"{tower}.in_bias"] * (1 + scale[:, 0]) + shift[:, 0]
        plain[f"{tower}.item_bias"] = params[f"{tower}.item_bias"] + towards
    return plain


class ConditionedPack(Pack):
    """One conditioned network in training; validation looks at the centre of the preferences."""

    def __init__(self, spec: TrainSpec, seed: int, data: TrainData, simplex: Simplex) -> None:
        """Begin with a network that no preference changes.

        Args:
            spec: Training variables; their loss weights name the losses in the simplex's order.
            seed: Of the fit: its start and its examples are those of an ordinary one.
            data: What training reads.
            simplex: Of the loss weights.
        """
        self.simplex, self._draws = simplex, generator(seed, "preferences of steps")
        self._centre = torch.tensor([centre_of(simplex)], device=data.device)
        self._preference = self._centre
        super().__init__([spec], [seed], data)

    def _initial(self, seed: int) -> dict[str, Tensor]:
        source = torch.Generator().manual_seed(child_seed(seed, "film"))
        losses = len(self.simplex.names)
        film = initial_film(losses, self.shape.towers, self.shape.width, source)
        return super()._initial(seed) | film

    def _samples(self) -> bool:
        return False  # the fold reads all items

    def draw_preference(self) -> list[float]:
        """Return shares of the losses for the next step, even on the simplex."""
        return [float(share) for share in self._draws.dirichlet(np.ones(len(self.simplex.names)))]

    def _step(self, step: int, batch: Mapping[str, Tensor]) -> None:
        shares = self.draw_preference()
        self._preference = torch.tensor([shares], device=self.data.device)
        weights = weights_at(self.simplex, shares)
        self.descent.preferences = np.array([[weights[loss.name] for loss in self.losses]])
        super()._step(step, batch)

    def _at(self, params: Params, preference: Tensor) -> dict[str, Tensor]:
        towers = self.shape.towers
        return folded(params, towers, preference, self.features, self.temperature)

    @property
    def _moving(self) -> Mapping[str, Tensor]:
        return self._at(super()._moving, self._preference)

    def _watched_scores(self, index: int, params: Params, states: Tensor, table: Tensor) -> Tensor:
        return super()._watched_scores(index, self._at(params, self._centre), states, table)


def train_conditioned(
    spec: TrainSpec, seed: int, data: TrainData, monitor: Monitor, simplex: Simplex
) -> Fit:
    """Train one network for all preferences.

    Args:
        spec: Training variables that fit all losses; its weights are put in the centre.
        seed: Of the fit.
        data: What training reads.
        monitor: What early stopping watches, at the centre of the preferences.
        simplex: Of the loss weights.

    Returns:
        A fit with the parameters of FiLM, which only :func:`at_preference` can read.
    """
    spec = replace(spec, loss_weights=weights_at(simplex, centre_of(simplex)))
    check_losses(spec, data)
    return ConditionedPack(spec, seed, data, simplex).run(monitor)[0]


def at_preference(fit: Fit, simplex: Simplex, shares: Sequence[float], features: Tensor) -> Fit:
    """Return the ordinary fit that a conditioned network is at a preference.

    Args:
        fit: As `train_conditioned` returns it.
        simplex: Of the loss weights.
        shares: Of the losses, summing to 1.
        features: Features of the items ``[N, F]``.
    """
    stacked = {name: value.unsqueeze(0).to(features.device) for name, value in fit.params.items()}
    preference = torch.tensor([list(shares)], dtype=torch.float32, device=features.device)
    temperature = torch.tensor([fit.spec.temperature], device=features.device)
    with torch.no_grad():
        plain = folded(stacked, fit.shape.towers, preference, features, temperature)
    params = {name: value[0] for name, value in plain.items()}
    spec = replace(fit.spec, loss_weights=weights_at(simplex, shares))
    return replace(fit, spec=spec, params=params, seconds=0.0)
