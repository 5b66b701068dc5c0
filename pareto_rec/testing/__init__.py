"""Contract suites: what everything that is registered promises, as classes for pytest.

A plugin holds its own things against them in two lines each: a subclass, and what to test::

    class TestModels(ModelContract):
        subjects = (my_plugin.model,)

They need ``pip install 'pareto_rec[testing]'``; nothing else of the package imports this one.
"""

from __future__ import annotations

try:
    import hypothesis as _  # noqa: F401
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed; pareto_rec.testing needs it: "
        "pip install 'pareto_rec[testing]'",
        name=error.name,
    ) from None

_SUITES = ("algorithms", "aggregators", "baselines", "datasets", "losses", "models", "objectives")
# before they are imported, so that a failed assertion shows its values
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in (*_SUITES, "outcomes", "unknown_items"))
)

from pareto_rec.testing.aggregators import AggregatorContract
from pareto_rec.testing.algorithms import AlgorithmContract
from pareto_rec.testing.baselines import BaselineContract
from pareto_rec.testing.datasets import DatasetContract
from pareto_rec.testing.losses import LossContract
from pareto_rec.testing.models import ModelContract
from pareto_rec.testing.objectives import ObjectiveContract

__all__ = [
    "AggregatorContract",
    "AlgorithmContract",
    "BaselineContract",
    "DatasetContract",
    "LossContract",
    "ModelContract",
    "ObjectiveContract",
]
