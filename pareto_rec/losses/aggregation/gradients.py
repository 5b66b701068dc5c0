"""Loss aggregation by the gradients, through their inner products alone.

A step along ``sum_m w_m g_m`` changes loss n by ``sum_m w_m <g_m, g_n>``, so the Gramian
``G_mn = <g_m, g_n>`` is all that is needed, however many parameters there are. Losses of preference
0 are left out of the game altogether: they are neither weighted nor protected.

Two things to know before one of them is chosen. A loss that starts at its best value (the negative
entropy does: initial predictions are nearly uniform) makes the start Pareto-stationary, and ways
that harm no loss do not leave it. And AdamW rescales steps, so that a direction whose length falls
to 0 near stationary points does not make the steps as short.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize, nnls
from torch import Tensor
from torchjd.aggregation import MGDAWeighting, UPGradWeighting
from torchjd.linalg import DualConeProjector, PSDMatrix

from pareto_rec.core.seeds import generator
from pareto_rec.losses.aggregation.base import AggregationStep, Aggregator, State, Vector

_RIDGE = 1e-8  # of the Gramian's trace: solvers need it positive definite


class _OnGramian(Aggregator):
    needs_gramian = True
    lands = "start"

    def weights(self, moment: AggregationStep, state: State, /) -> tuple[Vector, State]:
        """Weights of the losses that have a preference, from their Gramian of trace 1."""
        if moment.gramian is None:
            raise ValueError(f'"{self.name}" needs the Gramian of the gradients')
        kept = np.flatnonzero(moment.preference > 0)
        weights = np.zeros(len(moment.preference))
        preference = moment.preference[kept]
        gramian = unit_trace(moment.gramian[np.ix_(kept, kept)])
        if len(kept) == 1 or not gramian.any():
            weights[kept] = preference
        else:
            weights[kept] = self.solve(gramian, preference, moment)
        return weights, state

    @abstractmethod
    def solve(self, gramian: Vector, preference: Vector, moment: AggregationStep, /) -> Vector:
        """Weights of losses whose preference is above 0, from a Gramian of trace 1."""


def unit_trace(gramian: Vector) -> Vector:
    """The Gramian, made symmetric and divided by its trace; zero stays zero."""
    largest = np.abs(gramian).max(initial=0.0)
    if not largest > 0:
        return np.zeros_like(gramian)
    scaled = gramian / largest  # first, so that no square over- or underflows
    return np.asarray((scaled + scaled.T) / (2 * np.trace(scaled)), dtype=np.float64)


def factor(gramian: Vector) -> Vector:
    """``F`` with ``F' F = G``, negative eigenvalues (rounding) cut to 0, and a tiny ridge."""
    values, vectors = np.linalg.eigh(gramian)
    roots = np.sqrt(np.maximum(values, 0.0) + _RIDGE)
    return np.asarray((vectors * roots).T, dtype=np.float64)


class MGDA(_OnGramian):
    """The shortest convex combination of the gradients: ``min |sum_m w_m g_m|``, w on the simplex.

    Its negative is a common descent direction of all losses, and it is 0 exactly at
    Pareto-stationary points. Frank-Wolfe on the Gramian, by torchjd.

    Source: Desideri, Comptes Rendus Mathematique 2012; Sener & Koltun, NeurIPS 2018, algorithm 2.

    Misleads: it has no use for the preference (except that losses of preference 0 are left out),
    so where it ends is decided by start and scale: losses with small gradients get the most weight
    and one that is nearly optimal (the negative entropy at the start) stops all others. It seldom
    ranks well.
    """

    name = "mgda"

    def solve(self, gramian: Vector, _preference: Vector, _moment: AggregationStep, /) -> Vector:
        """Weights on the simplex."""
        found: Tensor = MGDAWeighting()(torch.from_numpy(gramian))
        return found.numpy()


class PCGrad(_OnGramian):
    """Projects every gradient off those that it conflicts with, then adds: gradient surgery.

    Each ``p_m g_m`` is taken in turn; for every other gradient, in random order, with which its
    inner product is negative, the component along that one is removed. Without conflicts it is
    `weighted_sum`.

    Source: Yu et al., Gradient surgery for multi-task learning, NeurIPS 2020, algorithm 1, on
    gradients scaled by the preference. Orders are drawn from the fit's seed (torchjd's draws from
    torch's global generator).

    Misleads: the sum may still conflict with a loss (projections undo one another), only two
    losses have a guarantee, and any point of opposite gradients is an end. A loss that begins at
    its best (the negative entropy) holds everything back.
    """

    name = "pcgrad"

    def solve(self, gramian: Vector, preference: Vector, moment: AggregationStep, /) -> Vector:
        """Sum of the projected gradients' coefficients."""
        rng = generator(moment.seed, "combine", moment.step)
        orders = [rng.permutation(len(preference)) for _ in preference]
        return preference * project_in_turn(gramian * np.outer(preference, preference), orders)


def project_in_turn(gramian: Vector, orders: Sequence[NDArray[np.int64]]) -> Vector:
    """Coefficients of the sum of all gradients, each projected off the others in its order."""
    total = np.zeros(len(gramian))
    for own, order in enumerate(orders):
        coefficients = np.zeros(len(gramian))
        coefficients[own] = 1.0
        for other in order:
            inner = gramian[other] @ coefficients
            if other != own and inner < 0 and gramian[other, other] > 0:
                coefficients[other] -= inner / gramian[other, other]
        total += coefficients
    return total


class CAGrad(_OnGramian):
    """The best step for the loss that gains least, within a ball around the weighted mean.

    ``max_d min_m <g_m, d>`` with ``|d - g_0| <= c |g_0|``, c = .5 and ``g_0 = sum_m p_m g_m``. By
    its dual ``min_u <g_u, g_0> + c |g_0| |g_u|`` over u on the simplex, the weights are
    ``p + c |g_0| / |g_u| u``. Since c < 1 it ends where `weighted_sum` does.

    Source: Liu et al., Conflict-averse gradient descent for multi-task learning, NeurIPS 2021,
    algorithm 1 (p equal there); the dual is solved by SLSQP as in the authors' code.

    Misleads: it changes the way, not the end; what differs after a short training is an effect of
    the steps that were taken.
    """

    name = "cagrad"
    lands = "preference"
    radius = 0.5

    def solve(self, gramian: Vector, preference: Vector, _moment: AggregationStep, /) -> Vector:
        """Preference plus a share of the worst-off losses."""
        slope = gramian @ preference
        size = self.radius * float(np.sqrt(max(float(preference @ slope), 0.0)))
        ridged = gramian + _RIDGE * np.eye(len(gramian))

        def dual(u: Vector) -> tuple[float, Vector]:
            pulled = ridged @ u
            norm = np.sqrt(u @ pulled)
            return float(u @ slope + size * norm), slope + size * pulled / norm

        count = len(preference)
        found = minimize(
            dual,
            np.full(count, 1.0 / count),
            jac=True,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * count,
            constraints=LinearConstraint(np.ones(count), 1.0, 1.0),
            options={"ftol": 1e-10, "maxiter": 100},
        )
        u = np.clip(found.x, 0.0, None)
        u = u / u.sum()
        share: Vector = u * (size / np.sqrt(u @ ridged @ u))
        return preference + share


class NashMTL(_OnGramian):
    """The direction on which losses that bargain would agree: ``max sum_m p_m log <g_m, d>``.

    The solution of the game in a ball is ``d = sum_m a_m g_m`` with ``(G a)_m = p_m / a_m``, the
    minimum of ``a'Ga / 2 - sum_m p_m log a_m``, found by Newton's method. Preferences are the
    bargaining powers of Kalai (1977). Weights are ``a / sum a``: the same direction as the paper's,
    with a length that falls to 0 at Pareto-stationary points. Blind to the units of the losses.

    Source: Navon et al., Multi-task learning as a bargaining game, ICML 2022, claim 3.1 (they solve
    it by a sequence of convex programs, and cut the step to norm 1).

    Misleads: every loss that can still fall must get its share of each step, so one with a tiny
    gradient gets a huge weight.
    """

    name = "nash_mtl"

    def solve(self, gramian: Vector, preference: Vector, _moment: AggregationStep, /) -> Vector:
        """Weights on the simplex."""
        return bargain(gramian, preference)


def bargain(gramian: Vector, power: Vector, *, steps: int = 100) -> Vector:
    """``a / sum a`` with ``(G a)_m = power_m / a_m``: Newton steps, halved until the value falls.

    The units of the gradients are taken out first, so that the diagonal of G is 1.
    """
    scale = np.sqrt(np.maximum(np.diag(gramian), _RIDGE))
    game = gramian / np.outer(scale, scale) + _RIDGE * np.eye(len(gramian))

    def value(a: Vector) -> float:
        return float(a @ game @ a / 2 - power @ np.log(a))

    a = np.sqrt(power)
    for _ in range(steps):
        slope = game @ a - power / a
        move = np.linalg.solve(game + np.diag(power / a**2), -slope)
        fall = slope @ move
        if fall > -1e-14:
            break
        shrink = float((-move / a).max())
        length = min(1.0, 0.99 / shrink) if shrink > 0 else 1.0
        while value(a + length * move) > value(a) + 0.1 * length * fall and length > 1e-8:
            length /= 2
        a = a + length * move
    weights = a / scale
    return np.asarray(weights / weights.sum(), dtype=np.float64)


class UPGrad(_OnGramian):
    """Projects every gradient onto the cone of directions that harm no loss, then adds.

    ``sum_m p_m proj(g_m)``, where ``proj(g) = argmin_d |d - g|`` over all d with ``<g_n, d> >= 0``
    for every n. To first order no loss rises, which no other way promises; without conflicts it is
    `weighted_sum`. By torchjd, with a projector of our own that needs no further solver.

    Source: Quinton & Rey, Jacobian descent for multi-objective optimization, 2024, eq. 5.

    Misleads: harming no loss at all is stricter than most trade-offs want: any Pareto-stationary
    point is an end, also one that the preference would never choose, and the start where a loss
    begins at its best (the negative entropy).
    """

    name = "upgrad"

    def solve(self, gramian: Vector, preference: Vector, _moment: AggregationStep, /) -> Vector:
        """Sum of the projected gradients' coefficients."""
        weighting = UPGradWeighting(torch.from_numpy(preference), Projector())
        found: Tensor = weighting(torch.from_numpy(gramian))
        return found.numpy()


class Projector(DualConeProjector):
    """Projection by non-negative least squares (Lawson & Hanson 1974), of SciPy.

    ``min v' G v`` with ``v >= u`` is ``min |F (u + x)|`` with ``x >= 0`` and ``F' F = G``.
    """

    def __call__(self, U: Tensor, G: PSDMatrix) -> Tensor:
        """Coefficients of the projections of ``U [..., m]``."""
        root = factor(G.numpy())
        rows = U.reshape(-1, U.shape[-1]).numpy()
        found = np.stack([row + nnls(root, -root @ row)[0] for row in rows])
        return torch.from_numpy(found).view_as(U)
