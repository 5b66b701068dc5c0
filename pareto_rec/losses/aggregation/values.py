"""Loss aggregation by the values of losses alone: one backward pass."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from pareto_rec.losses.aggregation.base import AggregationStep, Aggregator, State, Vector


class WeightedSum(Aggregator):
    """Minimises ``sum_m p_m l_m``: the weights are the preference.

    Source: Zadeh, IEEE Transactions on Automatic Control 1963.

    Misleads: no preference reaches a point on a concave part of the front, and equally spaced
    preferences do not give equally spaced points (Das & Dennis, Structural Optimization 1997).
    """

    name = "weighted_sum"

    def weights(self, moment: AggregationStep, state: State, /) -> tuple[Vector, State]:
        """The preference."""
        return moment.preference.copy(), state


class WeightedChebyshev(Aggregator):
    """Minimises ``max_m p_m (l_m - z_m)``, z the smallest possible losses.

    All weight is on the largest term (shared where several are equal), so the end has equal terms:
    ``p_m (l_m - z_m)`` is the same for all m wherever the front allows it. Unlike the sum it
    reaches concave parts of the front.

    Source: Bowman 1976; Miettinen, Nonlinear Multiobjective Optimization 1999, section 3.4.

    Misleads: one loss learns at a time, so it is slow and swings between losses; what is furthest
    from an ideal that cannot be reached (the cross-entropy) is all that learns. Small preferences
    mean "hardly ever" rather than "a little".
    """

    name = "weighted_chebyshev"

    def weights(self, moment: AggregationStep, state: State, /) -> tuple[Vector, State]:
        """The preference at the largest term, else 0."""
        terms = moment.preference * moment.gap
        largest = (terms >= terms.max()) & (moment.preference > 0)
        return moment.preference * largest / largest.sum(), state


class SmoothChebyshev(Aggregator):
    """Minimises ``mu log sum_m exp(p_m (l_m - z_m) / mu)``, mu = .1: a Chebyshev without corners.

    The weights are ``p_m softmax_m(p (l - z) / mu)``. At most ``mu log M`` above the maximum, and
    everywhere differentiable; as mu falls it tends to `weighted_chebyshev`, as mu rises to a sum
    with equal weights.

    Source: Lin et al., Smooth Tchebycheff scalarization for multi-objective optimization, ICML
    2024, eq. 9; mu out of their values .01 to 1. A loss of preference 0 is left out.

    Misleads: as `weighted_chebyshev`; terms that differ by less than mu count alike, so that small
    preferences weigh less than under either of the two ways it lies between.
    """

    name = "smooth_chebyshev"
    mu = 0.1

    def weights(self, moment: AggregationStep, state: State, /) -> tuple[Vector, State]:
        """Preference times softmax of the terms."""
        terms = moment.preference * moment.gap / self.mu
        return moment.preference * softmax(np.where(moment.preference > 0, terms, -np.inf)), state


class EpsilonConstraint(Aggregator):
    """Minimises the accuracy loss with every other loss held below a bound set by its preference.

    The bound of loss m is ``e_m = z_m + 1 / (M p_m)``: at equal preferences as far above its ideal
    z_m as it was large at initialisation, at twice the preference half as far, at preference 0
    nowhere. Augmented Lagrangian for inequalities: weight 1 on the accuracy loss and
    ``max(0, a_m + rho (l_m - e_m))`` on the others; after every step the multiplier moves by
    ``a_m <- max(0, a_m + eta (l_m - e_m))``, rho = 2 and eta = .1.

    Source: Haimes, Lasdon & Wismer 1971 (constraints); Hestenes 1969, Powell 1969 and Rockafellar
    1973 (multipliers); Nocedal & Wright, Numerical Optimization, section 17.4.

    Misleads: a bound that is not binding has no effect at all, so a wide range of preferences
    gives the same fit; in a short training the multipliers have not settled, and bounds are
    exceeded. The preference of the accuracy loss is not used.
    """

    name = "epsilon_constraint"
    rho = 2.0
    eta = 0.1

    def start(self, losses: int) -> State:
        """No multiplier yet."""
        return {"multipliers": np.zeros(losses)}

    def weights(self, moment: AggregationStep, state: State, /) -> tuple[Vector, State]:
        """One for accuracy, multiplier plus penalty for the others."""
        held = moment.preference > 0
        held[moment.primary] = False
        room = 1.0 / np.maximum(moment.preference * len(held), 1e-12)
        excess = np.where(held, moment.losses - moment.ideal - room, 0.0)
        multipliers = np.where(held, state["multipliers"], 0.0)
        weights = np.maximum(multipliers + self.rho * excess, 0.0)
        weights[moment.primary] = 1.0
        return weights, {"multipliers": np.maximum(multipliers + self.eta * excess, 0.0)}


class DynamicWeightAveraging(Aggregator):
    """Weights losses by how slowly they fall: ``p_m M softmax_m(r / T)``, T = 2.

    ``r_m`` is the mean of ``l_m - z_m`` over the last whole window of 10 steps, divided by that of
    the window before; the preference alone counts during the first two. Where nothing falls any
    more all r are 1 and the end is that of `weighted_sum`.

    Source: Liu, Johns & Davison, End-to-end multi-task learning with attention, CVPR 2019, eq. 7;
    windows stand for their epochs, and the preference is ours.

    Misleads: a loss that has got worse is taken for one that is hard to learn, so losses that
    oppose accuracy (which rise by nature) are pulled back; with mini-batches r is noisy.
    """

    name = "dynamic_weight_averaging"
    window = 10
    temperature = 2.0
    largest = 20.0  # a rate above it means a loss that began at its ideal

    def start(self, losses: int) -> State:
        """No window yet."""
        return {"sum": np.zeros(losses), "last": np.zeros(0), "rate": np.ones(losses)}

    def weights(self, moment: AggregationStep, state: State, /) -> tuple[Vector, State]:
        """Preference times softmax of the rates."""
        held = moment.preference > 0
        rate = np.where(held, state["rate"] / self.temperature, -np.inf)
        weights = moment.preference * held.sum() * softmax(rate)
        total = state["sum"] + moment.gap
        if (moment.step + 1) % self.window:
            return weights, {**state, "sum": total}
        last = state["last"] if len(state["last"]) else total
        ratio = np.divide(total, last, out=np.ones(len(total)), where=last > 0)
        rate = np.clip(ratio, 0.0, self.largest)
        return weights, {"sum": np.zeros(len(total)), "last": total, "rate": rate}


class UncertaintyWeighting(Aggregator):
    """Weights losses by the inverse of their size: ``p_m exp(-s_m)``, s learnt beside the rest.

    Minimises ``sum_m p_m (exp(-s_m) (l_m - z_m) + s_m)``; s begins at 0 and descends along its
    gradient ``1 - exp(-s_m) (l_m - z_m)``, cut to [-1, 1], at the rate .05. At rest ``s_m =
    log(l_m - z_m)``: what is minimised is ``sum_m p_m log(l_m - z_m)``, blind to the units of the
    losses. The ideal is subtracted since a negative loss would drive s to minus infinity.

    Source: Kendall, Gal & Cipolla, CVPR 2018, eq. 10, with s the log of the variance (a factor of
    one half, common to all, left out); the preference is ours.

    Misleads: a loss near its ideal gets a large weight however little it matters, and one that
    reaches it takes over: with losses that can reach 0 the end is a corner of the front.
    """

    name = "uncertainty_weighting"
    lands = "start"
    rate = 0.05
    most = 20.0

    def start(self, losses: int) -> State:
        """Variances of 1."""
        return {"s": np.zeros(losses)}

    def weights(self, moment: AggregationStep, state: State, /) -> tuple[Vector, State]:
        """Preference over variance."""
        precision = np.exp(-state["s"])
        slope = np.clip(1.0 - precision * moment.gap, -1.0, 1.0)
        s = np.clip(state["s"] - self.rate * slope, -self.most, self.most)
        return moment.preference * precision, {"s": s}
