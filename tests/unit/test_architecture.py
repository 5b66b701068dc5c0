"""Who may import whom. The table is the architecture: change it only together with a reason.

A part is a module of the package, or a folder of them. Imports inside functions and those for type
checkers count like any other.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from graphlib import TopologicalSorter

import pytest

import pareto_rec
from pareto_rec.core.code_keys import INSTALLED, imported_names

# From the leaves to the commands. A part may import the parts named here, and its own modules.
ALLOWED: dict[str, str] = {
    # values and plain functions: they know nobody, or errors alone
    "errors": "",
    "seeds": "",
    "wording": "",
    "threads": "",
    "front": "",
    "provenance": "",
    "code_keys": "",
    "kernels": "",
    "tasks": "errors",
    "models": "kernels tasks",
    # checksums, and what a process that died leaves behind
    "checksums": "",
    "notices": "",
    "leftovers": "notices",
    "paths": "checksums errors leftovers",
    "sealed": "checksums notices paths",
    "variables": "errors",
    "policy": "errors kernels models",
    "decide": "errors",
    "bootstrap": "seeds",
    "space": "errors variables",
    "unpacking": "errors",
    "records": "errors paths",
    # from the files of a run directory to one value: it knows files, not the code that wrote them
    "reading": "errors front",
    # from files to arrays
    "fetch": "errors paths unpacking",
    "backbone": "errors fetch paths",
    "data": "errors fetch paths provenance seeds wording",
    # what is learnt and what is measured: none of it knows a search, a config or a run
    "losses": "errors kernels seeds tasks",
    "objectives": "data errors",
    "experts": "data errors paths sealed",
    "train": "backbone data errors kernels leftovers losses models objectives paths provenance "
    "sealed seeds tasks",
    # the search knows candidates and values, and neither models nor data
    "search": "errors front seeds space variables",
    # where training meets objectives
    "evaluate": "backbone data errors experts kernels losses models objectives paths policy "
    "provenance records sealed search space tasks train variables",
    # from a config to what is evaluated, and by whom
    "config": "data errors space tasks",
    "identity": "code_keys config errors",
    "limits": "backbone errors evaluate experts losses models policy space tasks train",
    "adapt": "backbone checksums data errors leftovers paths provenance sealed seeds train",
    "references": "config data errors experts paths reading train",
    "inputs": "adapt backbone config data errors seeds tasks",
    "experiment": "backbone config data errors evaluate experts inputs limits objectives "
    "references search seeds space tasks train",
    "backbones": "bootstrap config evaluate experiment inputs objectives policy seeds train "
    "variables",
    "workers": "config errors evaluate experiment identity paths records search threads",
    # from a config to a run directory
    "run": "config data errors evaluate experiment front identity inputs objectives policy "
    "provenance records search space train variables wording workers",
    "controls": "config paths policy run space variables",
    # from a run directory to pictures
    "plots": "front paths reading",
    "report": "errors front paths plots reading wording",
    "notebook": "errors plots reading report",
    "verify": "checksums errors front reading records train",
    # from a front to evidence
    "confirm": "bootstrap config data errors evaluate experiment front inputs objectives paths "
    "policy provenance reading run search seeds space train wording workers",
    "compare": "bootstrap config errors front plots reading",
    # from a front to a choice
    "picks": "checksums decide errors objectives paths reading",
    # from a choice to what is served
    "bundle": "backbone config data errors evaluate experiment experts inputs models paths picks "
    "policy reading records tasks threads train",
    # from a bundle to a service, and to the next bundle
    "serve": "bundle errors",
    "update": "bundle config data errors evaluate experiment experts seeds tasks threads train",
    # what it all costs
    "bench": "backbone config data errors evaluate experiment front inputs losses models "
    "objectives paths policy provenance records search seeds space threads train "
    "variables workers",
    # the commands
    "commands": "adapt backbone backbones bench bundle compare config confirm controls data decide "
    "errors experiment inputs paths picks plots provenance reading report run search "
    "serve update wording",
    "cli": "commands errors",
    "__main__": "cli",
}

PYMOO = {"search.algorithms", "decide"}  # the only modules that may know pymoo
NO_TORCH = {
    *("data", "objectives", "experts", "search", "front", "space", "variables", "config"),
    *("records", "reading", "plots", "report", "notebook", "bootstrap", "compare", "commands"),
    *("cli", "decide", "picks", "checksums", "leftovers", "notices", "sealed"),
}
# What a command that needs none of them must not pay for: imported inside functions alone.
LATE = {
    *("transformers", "peft", "matplotlib", "pandas", "plotly", "pooch", "requests"),
    "huggingface_hub",
}


MODULES = [name.removeprefix("pareto_rec.") for name in INSTALLED.modules]


def part_of(module: str) -> str:
    return module.partition(".")[0]


def tree_of(module: str) -> ast.Module:
    return ast.parse(INSTALLED.source(f"pareto_rec.{module}"))


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
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    by_name = any(isinstance(text, str) and text.startswith("pymoo.") for text in texts)
    assert not ("pymoo" in foreign(tree) or by_name) or module in PYMOO


@pytest.mark.parametrize("module", [name for name in MODULES if part_of(name) in NO_TORCH])
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
