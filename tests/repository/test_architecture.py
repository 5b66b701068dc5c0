"""Who may import whom. The table is the architecture: change it only together with a reason.

Imports inside functions and those for type checkers count like any other. And what no parameter
may be called.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pareto_rec
from pareto_rec.core.code_keys import INSTALLED, imported_names

REPOSITORY = Path(__file__).parents[2]

# From the leaves to the commands. A part is a package, or a package inside one that is named here
# by itself because it may know less than the whole. It may import the parts named here, and its
# own modules.
ALLOWED: dict[str, str] = {
    # errors, seeds, files, provenance; loops over arrays: they know nobody
    "core": "",
    "kernels": "",
    "tasks": "core",
    # the search knows candidates and values, and neither models nor data
    "search": "core",
    # from files to arrays
    "backbone": "core",
    "data": "core",
    # what is learnt, what is measured, and lists from scores: none of it knows a search or a run
    "baselines": "core data",
    "objectives": "core data",
    "losses": "core kernels tasks",
    "models": "core kernels tasks",
    "ranking": "baselines core kernels models objectives tasks",
    "training": "backbone core data kernels losses models objectives tasks",
    "training.adapt": "backbone core data training",
    # a run directory, written and read; it does not know what it is a run of
    "runs": "core search",
    # where training meets objectives
    "evaluation": "backbone baselines core data kernels losses models objectives ranking runs "
    "search tasks training",
    # from a config to everything that is evaluated
    "experiment.config": "core data search tasks",
    "experiment.limits": "core models objectives ranking search tasks training",
    "experiment": "backbone baselines core data evaluation experiment.config experiment.limits "
    "losses models objectives runs search tasks training training.adapt",
    # several systems on one model, each with data, a head and measures of its own
    "systems": "backbone core data evaluation experiment experiment.config experiment.limits "
    "losses models objectives ranking runs search tasks training",
    # from a config to a run directory
    "execution.workers": "core evaluation experiment experiment.config runs search",
    "execution": "core data evaluation execution.workers experiment experiment.config objectives "
    "ranking runs search systems tasks training",
    # from a run directory to pictures
    "report.plots": "core runs search",
    "report": "core report.plots runs search",
    # from a front to evidence and to a choice
    "analysis.bootstrap": "core",
    "analysis.group_draws": "analysis.bootstrap objectives",
    "analysis.front_draws": "analysis.bootstrap analysis.group_draws objectives search",
    "analysis.decide": "core runs",
    "analysis.compare": "analysis.bootstrap analysis.front_draws core experiment.config objectives "
    "report.plots runs search",
    "analysis.confirm": "analysis.bootstrap analysis.front_draws baselines core evaluation "
    "execution execution.workers experiment experiment.config objectives ranking runs search "
    "tasks",
    "analysis": "analysis.bootstrap analysis.decide core evaluation experiment experiment.config "
    "objectives ranking runs search training",
    # from a choice to what is served
    "bundle": "analysis backbone baselines core data evaluation experiment models objectives "
    "ranking runs tasks training",
    "bundle.update": "baselines bundle core data evaluation experiment experiment.config ranking "
    "runs tasks training",
    # every process of a service imports the plugins that its parent has
    "serve": "bundle core experiment",
    # the commands
    "cli": "analysis analysis.compare analysis.confirm analysis.decide backbone bundle "
    "bundle.update core data execution experiment experiment.config report report.plots runs "
    "search serve training.adapt",
    "__main__": "cli",
    # the contracts of what may be registered: for tests, ours and those of plugins
    "testing": "baselines core data losses models objectives search",
}

PYMOO = {"search.algorithms", "analysis.decide"}  # the only modules that may know pymoo
NO_TORCH = {
    *("data", "objectives", "baselines", "search", "experiment.config", "runs", "report", "cli"),
    *("report.plots", "analysis.bootstrap", "analysis.compare", "analysis.decide"),
    *("analysis.front_draws", "analysis.group_draws"),
    *("analysis.picks", "core.errors", "core.seeds"),
}
# What a command that needs none of them must not pay for: imported inside functions alone.
LATE = {
    *("transformers", "peft", "matplotlib", "pandas", "plotly", "pooch", "requests"),
    "huggingface_hub",
}
# Words that leave open what a value is; a parameter is named after it.
RIDDLES = {"one", "found", "made", "place", "told", "said", "asked", "whole", "kept", "spare"}


MODULES = [name.removeprefix("pareto_rec.") for name in INSTALLED.modules]


def part_of(module: str) -> str:
    """The longest name in the table that a module lies in; its package where there is none."""
    within = [part for part in ALLOWED if f"{module}.".startswith(f"{part}.")]
    return max(within, key=len, default=module.partition(".")[0])


@cache
def tree_of(module: str) -> ast.Module:
    """The module as it is parsed; nobody may change it."""
    return ast.parse(INSTALLED.source(f"pareto_rec.{module}"))


@cache
def texts_of(module: str) -> set[str]:
    """Constants of a module that are texts."""
    constants = (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Constant))
    return {node.value for node in constants if isinstance(node.value, str)}


def own(module: str) -> set[str]:
    """Modules of the package that a module imports."""
    found = INSTALLED.imports(f"pareto_rec.{module}")
    return {name.removeprefix("pareto_rec.") for name in found}


def foreign(tree: ast.AST) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(tree)} - {"pareto_rec"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_part_may(module: str) -> None:
    part = part_of(module)
    assert part in ALLOWED, f"{part} is new: say in ALLOWED what it may import"
    wrong = {part_of(name) for name in own(module)} - {part, *ALLOWED[part].split()}
    assert not wrong, f"{module} must not import {', '.join(sorted(wrong))}"


def test_the_table_allows_no_more_than_there_is() -> None:
    used: dict[str, set[str]] = {part: set() for part in ALLOWED}
    for module in MODULES:
        used[part_of(module)] |= {part_of(name) for name in own(module)} - {part_of(module)}
    idle = {part: set(ALLOWED[part].split()) - used[part] for part in ALLOWED}
    assert not {part: names for part, names in idle.items() if names}
    assert set(ALLOWED) == {part_of(module) for module in MODULES}


def test_there_are_no_circles() -> None:
    order = TopologicalSorter({module: own(module) - {module} for module in MODULES})
    order.prepare()


def test_parts_are_named_after_what_they_use() -> None:
    """The table reads from the leaves up: no part may import one that stands below it."""
    seen: set[str] = set()
    for part, names in ALLOWED.items():
        later = set(names.split()) - seen
        assert not later, f"{part} stands above {', '.join(sorted(later))}"
        seen.add(part)


@pytest.mark.parametrize("module", MODULES)
def test_only_two_modules_may_know_pymoo(module: str) -> None:
    tree = tree_of(module)
    by_name = any(text.startswith("pymoo.") for text in texts_of(module))
    assert not ("pymoo" in foreign(tree) or by_name) or any(
        f"{module}.".startswith(f"{known}.") for known in PYMOO
    )


@pytest.mark.parametrize("module", MODULES)
def test_one_module_reads_confirmations(module: str) -> None:
    assert "confirm.json" not in texts_of(module) or module == "runs.confirmation"


@pytest.mark.parametrize("module", [name for name in MODULES if {part_of(name), name} & NO_TORCH])
def test_these_parts_do_without_torch(module: str) -> None:
    assert not foreign(tree_of(module)) & {"torch", "safetensors", "transformers"}


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_are_imported_where_they_are_used(module: str) -> None:
    top = ast.Module([node for node in tree_of(module).body if _runs(node)], type_ignores=[])
    late = LATE - (
        {"matplotlib"} if module in {"report.plots.figures", "report.plots.style"} else set()
    )
    assert not foreign(top) & late


def _runs(node: ast.stmt) -> bool:
    """Whether it is an import that runs with the module: in no function, not for type checkers."""
    return isinstance(node, ast.Import | ast.ImportFrom)


def riddles(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and name of every parameter, also of a lambda, that is named by one of `RIDDLES`."""
    parameters = (node for node in ast.walk(tree) if isinstance(node, ast.arg))
    return sorted((node.lineno, node.arg) for node in parameters if node.arg in RIDDLES)


def test_parameters_are_named_after_what_they_are() -> None:
    wrong = [
        f"{INSTALLED.modules[f'pareto_rec.{module}']}:{line}: {name}"
        for module in MODULES
        for line, name in riddles(tree_of(module))
    ]
    wrong += [
        f"{path}:{line}: {name}"
        for path in sorted((REPOSITORY / "benchmarks").rglob("*.py"))
        for line, name in riddles(ast.parse(path.read_text()))
    ]
    assert not wrong, "name these parameters by a noun:\n" + "\n".join(wrong)


def test_every_kind_of_parameter_is_looked_at() -> None:
    tree = ast.parse(
        "def f(one, /, found, *made, place, **told): one = kept\n"
        "async def g(said=1): ...\nh = lambda asked: asked\n"
    )
    lines = [(1, "found"), (1, "made"), (1, "one"), (1, "place"), (1, "told")]
    assert riddles(tree) == [*lines, (2, "said"), (3, "asked")]


def test_the_table_would_notice() -> None:
    """The reader of imports sees every form of them."""
    tree = ast.parse(
        "import pymoo.core\nfrom pareto_rec.data import load\n"
        "def f():\n    from torch import nn\nif TYPE_CHECKING:\n    import pandas as pd\n"
    )
    assert imported_names(tree) == {"pymoo.core", "pareto_rec.data.load", "torch.nn", "pandas"}
    assert foreign(tree) == {"pymoo", "torch", "pandas"}


def test_public_names_are_there_and_are_what_they_say() -> None:
    assert len(pareto_rec.__all__) < 20
    assert set(pareto_rec.__all__) <= set(dir(pareto_rec))
    for name in pareto_rec.__all__:
        assert getattr(pareto_rec, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        pareto_rec.serch  # type: ignore[attr-defined]  # noqa: B018  # that is the point


def test_public_names_mean_the_same_to_type_checkers() -> None:
    checked = next(node for node in ast.parse(inspect.getsource(pareto_rec)).body if _checks(node))
    declared = {
        alias.asname or alias.name: getattr(importlib.import_module(str(node.module)), alias.name)
        for node in ast.walk(checked)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == {name: getattr(pareto_rec, name) for name in pareto_rec.__all__}


def _checks(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
