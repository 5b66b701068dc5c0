"""Multi-objective recommenders on one shared BERT backbone.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pareto_rec.analysis.picks import pick
    from pareto_rec.backbone.cached import Backbone
    from pareto_rec.core.errors import BadRequestError, RunFailedError
    from pareto_rec.data import load as load_data
    from pareto_rec.data.schema import Dataset
    from pareto_rec.execution.callbacks import SearchCallback
    from pareto_rec.execution.search import search_experiment
    from pareto_rec.experiment.config import Config, load_config
    from pareto_rec.experiment.plugins import register
    from pareto_rec.objectives import parse as parse_objective
    from pareto_rec.report.notebook import Run
    from pareto_rec.runs.reader import read_run
    from pareto_rec.search.pareto import hypervolume, non_dominated
    from pareto_rec.search.space import Candidate, SearchSpace

__all__ = [
    "Backbone",
    "BadRequestError",
    "Candidate",
    "Config",
    "Dataset",
    "Run",
    "RunFailedError",
    "SearchCallback",
    "SearchSpace",
    "hypervolume",
    "load_config",
    "load_data",
    "non_dominated",
    "parse_objective",
    "pick",
    "read_run",
    "register",
    "search_experiment",
]

_PLACES = {  # public name -> module, and its name there
    "Backbone": ("backbone.cached", "Backbone"),
    "BadRequestError": ("core.errors", "BadRequestError"),
    "Candidate": ("search.space", "Candidate"),
    "Config": ("experiment.config", "Config"),
    "Dataset": ("data.schema", "Dataset"),
    "Run": ("report.notebook", "Run"),
    "RunFailedError": ("core.errors", "RunFailedError"),
    "SearchCallback": ("execution.callbacks", "SearchCallback"),
    "SearchSpace": ("search.space", "SearchSpace"),
    "hypervolume": ("search.pareto", "hypervolume"),
    "load_config": ("experiment.config", "load_config"),
    "load_data": ("data", "load"),
    "non_dominated": ("search.pareto", "non_dominated"),
    "parse_objective": ("objectives", "parse"),
    "pick": ("analysis.picks", "pick"),
    "read_run": ("runs.reader", "read_run"),
    "register": ("experiment.plugins", "register"),
    "search_experiment": ("execution.search", "search_experiment"),
}


def __getattr__(name: str) -> Any:  # what a name stands for differs from name to name
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, original = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), original)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
