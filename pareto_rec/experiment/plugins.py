"""Plugins: modules of one's own that add objectives, losses, models and more.

A config names them, ``plugins = ["my_module"]``: an importable module, or a file beside the config
(``"my_module.py"``). Every process that reads the config imports them before any name is resolved,
workers included, and their source is part of every key that depends on code.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from pareto_rec.baselines import BASELINES, Baseline
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.registry import Registry, add_plugin
from pareto_rec.data import DATASETS, Loader
from pareto_rec.losses import AGGREGATORS, LOSSES, Loss
from pareto_rec.losses.aggregation import Aggregator
from pareto_rec.models import MODELS
from pareto_rec.models.base import Model
from pareto_rec.objectives import FAMILIES, Objective
from pareto_rec.search.algorithms import ALGORITHMS, Algorithm, Task

T = TypeVar("T")
_loaded: dict[str, ModuleType] = {}


def register(
    name: str = "",
    *,
    objective: type[Objective] | None = None,
    loss: Loss | None = None,
    aggregation: Aggregator | None = None,
    model: Model | None = None,
    baseline: Baseline | None = None,
    algorithm: Callable[[Task], Algorithm] | None = None,
    dataset: Loader | None = None,
) -> None:
    """Add one thing to its registry, so that a config may name it.

    Args:
        name: What a config calls it; needed for a baseline, an algorithm and a data set. The others
            have a name of their own (`Objective.family`, `Loss.name`, `Aggregator.name`,
            `Model.name`), and are refused under another.
        objective: A class of objectives, made from ``(k, signal)``.
        loss: A loss.
        aggregation: A loss aggregation.
        model: A user encoder; `pareto_rec.models.module.ModuleModel` makes one of a plain module.
        baseline: A baseline with its parameters.
        algorithm: From the search's task to an algorithm that is asked and told.
        dataset: A named data set.

    Raises:
        BadRequestError: If the name is taken or missing, or not exactly one thing is given.
    """
    given = {
        "objective": objective,
        "loss": loss,
        "aggregation": aggregation,
        "model": model,
        "baseline": baseline,
        "algorithm": algorithm,
        "dataset": dataset,
    }
    kinds = [kind for kind, thing in given.items() if thing is not None]
    if len(kinds) != 1:
        raise BadRequestError(
            f"register takes exactly one of {', '.join(given)}; given: {', '.join(kinds) or 'none'}"
        )
    if objective is not None:
        _add(FAMILIES, name, objective, objective.family)
    elif loss is not None:
        _add(LOSSES, name, loss, loss.name)
    elif aggregation is not None:
        _add(AGGREGATORS, name, aggregation, aggregation.name)
    elif model is not None:
        _add(MODELS, name, model, model.name)
    elif baseline is not None:
        _add(BASELINES, name, baseline)
    elif algorithm is not None:
        _add(ALGORITHMS, name, algorithm)
    elif dataset is not None:
        _add(DATASETS, name, dataset)


def _add(registry: Registry[T], name: str, entry: T, own: str = "") -> None:
    if own and name and name != own:
        raise BadRequestError(f'the {registry.kind} "{own}" cannot be registered as "{name}"')
    if not (own or name):
        raise BadRequestError(f"a {registry.kind} needs a name: register(name, ...)")
    registry.register(own or name, entry)


def load_plugins(names: Iterable[str]) -> None:
    """Import plugins that this process has not imported yet.

    Args:
        names: Importable modules, or paths of Python files.

    Raises:
        BadRequestError: If one cannot be imported or registers what it may not; names the plugin,
            file and line.
    """
    for name in names:
        if name not in _loaded:
            _loaded[name] = _imported(name)


def _imported(name: str) -> ModuleType:
    try:
        module = _from_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise BadRequestError(
                f'plugin "{name}" is not found: install it, or name a file beside the config '
                f'("{name.rpartition(".")[2]}.py")'
            ) from None
        raise _failure(name, error) from None
    except (Exception, SystemExit) as error:
        raise _failure(name, error) from None
    add_plugin(name, _sources(module))
    return module


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    loaded = sys.modules.get(path.stem)
    file = getattr(loaded, "__file__", None)
    if loaded is not None and file is not None and Path(file).resolve() == path.resolve():
        return loaded  # imported by name before, as a test of it does
    if loaded is not None:
        raise ImportError(f'a module "{path.stem}" is loaded already: give the file another name')
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _failure(name: str, error: BaseException) -> BadRequestError:
    """What went wrong and where, the plugin's own line rather than one of a library's."""
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}: "
    else:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith("<frozen")
            and frame.filename != __file__
            and not frame.filename.endswith("importlib/__init__.py")
        ]
        where = f"{frames[0].filename}, line {frames[0].lineno}: " if frames else ""
    kind = "" if isinstance(error, BadRequestError) else f"{type(error).__name__}: "
    return BadRequestError(f'plugin "{name}" cannot be used: {where}{kind}{error}')


def _sources(module: ModuleType) -> dict[str, Path]:
    """Files that a plugin is made of, by name within it: one, or all of a package."""
    file = getattr(module, "__file__", None)
    if file is None:
        return {}
    path = Path(file)
    if path.name != "__init__.py":
        return {path.name: path}
    folder = path.parent
    return {str(each.relative_to(folder)): each for each in sorted(folder.rglob("*.py"))}
