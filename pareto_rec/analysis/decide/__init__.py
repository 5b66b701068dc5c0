"""Ways to pick an operating point from a front: rules under bounds, and the best mixture."""

from pareto_rec.analysis.decide.bounds import Bound
from pareto_rec.analysis.decide.choose import Pick, choose
from pareto_rec.analysis.decide.mixture import Mixture, mix
from pareto_rec.analysis.decide.pickers import PICKERS, Picker
from pareto_rec.analysis.decide.points import Points
from pareto_rec.analysis.decide.tradeoff import Exchange, exchanges

__all__ = [
    "PICKERS",
    "Bound",
    "Exchange",
    "Mixture",
    "Pick",
    "Picker",
    "Points",
    "choose",
    "exchanges",
    "mix",
]
