"""Multi-objective recommenders on one shared BERT backbone.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pareto_rec.backbone.cached import Backbone
    from pareto_rec.config import Config, load_config
    from pareto_rec.data import load as load_data
    from pareto_rec.data.schema import Dataset
    from pareto_rec.errors import BadRequestError, RunFailedError
    from pareto_rec.front import hypervolume, non_dominated
    from pareto_rec.notebook import Run
    from pareto_rec.objectives import parse as parse_objective
    from pareto_rec.picks import pick
    from pareto_rec.reading.read import read_run
    from pareto_rec.run.search import search_experiment
    from pareto_rec.space import Candidate, SearchSpace

__all__ = [
    "Backbone",
    "BadRequestError",
    "Candidate",
    "Config",
    "Dataset",
    "Run",
    "RunFailedError",
    "SearchSpace",
    "hypervolume",
    "load_config",
    "load_data",
    "non_dominated",
    "parse_objective",
    "pick",
    "read_run",
    "search_experiment",
]

_PLACES = {  # public name -> module, and its name there
    "Backbone": ("backbone.cached", "Backbone"),
    "BadRequestError": ("errors", "BadRequestError"),
    "Candidate": ("space", "Candidate"),
    "Config": ("config", "Config"),
    "Dataset": ("data.schema", "Dataset"),
    "Run": ("notebook", "Run"),
    "RunFailedError": ("errors", "RunFailedError"),
    "SearchSpace": ("space", "SearchSpace"),
    "hypervolume": ("front", "hypervolume"),
    "load_config": ("config", "load_config"),
    "load_data": ("data", "load"),
    "non_dominated": ("front", "non_dominated"),
    "parse_objective": ("objectives", "parse"),
    "pick": ("picks", "pick"),
    "read_run": ("reading.read", "read_run"),
    "search_experiment": ("run.search", "search_experiment"),
}


def __getattr__(name: str) -> Any:  # what a name stands for differs from name to name
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, original = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), original)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
