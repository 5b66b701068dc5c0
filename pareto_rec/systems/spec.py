"""Training variables that all systems of a fit share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pareto_rec.core.declarations import declarations, limits_of, variable, without_idle
from pareto_rec.core.errors import construct
from pareto_rec.core.limits import Limit, Number, RegisteredName, Weights
from pareto_rec.core.seeds import child_seed
from pareto_rec.losses import AGGREGATORS
from pareto_rec.models.trunk import TRUNKS

LEAST_ROWS = 8  # of a system in a step: fewer teach it nothing, and its loss must be known

_STEPS = Number(low=1, high=10_000_000, whole=True)
_SIZE = Number(low=1, high=8192, whole=True)


@dataclass(frozen=True)
class Shared:
    """What the systems of a fit have in common.

    Attributes:
        width: Width of the vectors of texts.
        rows: Examples of the system in a step.
        steps: Steps of the fit.
        check_every: Steps between two looks at validation.
        device: Where tensors live.
    """

    width: int
    rows: int
    steps: int
    check_every: int
    device: torch.device


def _has_experts(spec: JointSpec) -> bool:
    return spec.trunk != "shared_bottom"


@dataclass(frozen=True)
class JointSpec:
    """Every training variable that the systems of a fit share."""

    width: int = variable(64, _SIZE, "Width of the vectors of texts, users and items.")
    trunk: str = variable(
        "shared_bottom",
        RegisteredName("trunk", TRUNKS),
        "Registered trunk: what lies between the projected text and the heads of the systems.",
    )
    trunk_experts: int = variable(
        2,
        Number(low=1, high=256, whole=True),
        "Its experts: how many are shared, and how many each system has of its own.",
        needs=_has_experts,
    )
    steps: int = variable(300, _STEPS, "Most training steps.")
    batch: int = variable(
        512,
        Number(low=1, high=1_000_000, whole=True),
        "Examples of a step, those of all systems together.",
    )
    mixing: Mapping[str, float] = variable(
        {},
        Weights("system", ()),
        "System -> its share of the examples of a step; {}: equal shares.",
    )
    system_weights: Mapping[str, float] = variable(
        {},
        Weights("system", ()),
        "System -> weight of its loss; {}: equal weights. A system of weight 0 is not trained.",
    )
    aggregation: str = variable(
        "weighted_sum",
        RegisteredName("loss aggregation", AGGREGATORS),
        "Registered loss aggregation: how the losses of the systems become one step.",
    )
    learning_rate: float = variable(
        0.01, Number(low=0, high=1e3, open_low=True), "Peak of the schedule."
    )
    weight_decay: float = variable(0.01, Number(low=0, high=1e3), "Decoupled (AdamW).")
    check_every: int = variable(25, _STEPS, "Steps between two looks at validation.")
    patience: int = variable(4, _STEPS, "Looks without improvement before a fit stops.")
    replica: int = variable(
        0,
        Number(low=0, high=1000, whole=True),
        "Number of a repetition: the same training with other random draws.",
    )

    def seed(self, root: int) -> int:
        """Return the seed of the fit, given that of all fits."""
        return child_seed(root, "replica", self.replica) if self.replica else root

    def weights(self, systems: Sequence[str]) -> dict[str, float]:
        """Return the weight of each system's loss; they sum to 1."""
        return _shares(self.system_weights, systems)

    def rows(self, systems: Sequence[str]) -> dict[str, int]:
        """Return the examples of each trained system in a step, `LEAST_ROWS` at least."""
        trained = [name for name, weight in self.weights(systems).items() if weight > 0]
        shares = _shares(self.mixing, trained)
        return {name: max(LEAST_ROWS, round(self.batch * shares[name])) for name in trained}

    def shared(self, system: str, systems: Sequence[str], device: torch.device) -> Shared:
        """Return what a system has in common with the others.

        Args:
            system: Its name.
            systems: All names.
            device: Where tensors live.
        """
        rows = self.rows(systems).get(system, LEAST_ROWS)
        return Shared(self.width, rows, self.steps, self.check_every, device)


def _shares(given: Mapping[str, float], systems: Sequence[str]) -> dict[str, float]:
    whole = dict.fromkeys(systems, 1.0) if not given else {n: given.get(n, 0.0) for n in systems}
    total = sum(whole.values())
    if not total:  # none of these has a share: each has the same
        return dict.fromkeys(systems, 1 / len(systems))
    return {name: value / total for name, value in whole.items()}


def joint_limits(systems: Sequence[str]) -> dict[str, Limit]:
    """Return what every shared variable may be, in a config of some systems."""
    return limits_of(JointSpec, {"mixing": systems, "system_weights": systems})


def joint_spec(values: Mapping[str, Any]) -> JointSpec:
    """Return shared training variables.

    Raises:
        BadRequestError: If one is not known, or names what no registry has.
    """
    spec = construct("training variable", JointSpec, dict(values))
    for name, one in declarations(JointSpec).items():
        if isinstance(one.limit, RegisteredName):
            one.limit.check(getattr(spec, name))
    return without_idle(spec)
