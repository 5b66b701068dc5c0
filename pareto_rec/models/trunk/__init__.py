"""Trunks: what the tasks of a network share between the user encoder and their towers."""

from pareto_rec.core.registry import Registry
from pareto_rec.models.trunk.base import Trunk
from pareto_rec.models.trunk.mmoe import MMoE
from pareto_rec.models.trunk.ple import PLE
from pareto_rec.models.trunk.shared_bottom import SharedBottom

TRUNKS: Registry[Trunk] = Registry(
    "trunk", {trunk.name: trunk for trunk in (SharedBottom(), MMoE(), PLE())}
)

__all__ = ["TRUNKS", "Trunk"]
