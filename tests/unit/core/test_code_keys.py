"""Caches are named by the code that fills them: by all of it, and by nothing else."""

from __future__ import annotations

import ast
import shutil
import sys
import time
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_experiment import CONFIG

from pareto_rec.backbone import features
from pareto_rec.baselines import BASELINES
from pareto_rec.core.code_keys import (
    INNOCENT,
    INSTALLED,
    Package,
    code_key,
    imported_names,
)
from pareto_rec.evaluation import baselines
from pareto_rec.experiment import identity
from pareto_rec.experiment.config import parse_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.training import fit_store as fitstore
from pareto_rec.training.adapt import store as adapted

ENTRIES: dict[str, tuple[str, ...]] = {
    "records": identity.DECIDING,
    "fits": fitstore.DECIDING,
    "baselines": (baselines.__name__, *baselines.MEASURING),
    "latencies": ("pareto_rec.evaluation.latency",),
    "features": features.DECIDING,
    "adapted backbones": adapted.DECIDING,
    "tables": ("pareto_rec.data.table.store",),
    **{f"scores of {name}": (type(one).__module__,) for name, one in BASELINES.items()},
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    """The package in a folder in which it may be changed."""
    root = tmp_path_factory.mktemp("copy") / "pareto_rec"
    shutil.copytree(INSTALLED.root, root, ignore=shutil.ignore_patterns("__pycache__"))
    yield Package(root)
    shutil.rmtree(root)


def changed(copy: Package, module: str) -> Package:
    """The package after a change of one file, which is undone at once."""
    path = copy.modules[module]
    content = path.read_bytes()
    path.write_bytes(content + b"\n# changed\n")
    found = Package(copy.root)
    found._needed = copy._needed  # a remark imports nothing: spares parsing all anew
    found._sources = {name: text for name, text in copy._sources.items() if name != module}
    assert found.source(module) != content
    path.write_bytes(content)
    return found


@pytest.mark.parametrize("what", ENTRIES)
def test_a_change_of_any_module_that_decides_changes_the_key(copy: Package, what: str) -> None:
    entries = ENTRIES[what]
    before, closure = copy.code_key(*entries), copy.closure(*entries)
    assert before == INSTALLED.code_key(*entries)
    assert {changed(copy, one).code_key(*entries) for one in closure}.isdisjoint({before})
    others = sorted(set(copy.modules) - set(closure))[::20]
    assert {changed(copy, one).code_key(*entries) for one in others} == {before}


@pytest.mark.parametrize(
    ("what", "modules"),
    [
        (
            "fits",
            "evaluation.monitor objectives.ranking evaluation.reference_policies "
            "evaluation.training_data",
        ),
        ("fits", "objectives.catalogue training.item_features backbone.cached backbone.views"),
        (
            "fits",
            "losses.aggregation.gradients kernels.adamw models.trunk.ple data.cuts "
            "tasks core.seeds",
        ),
        (
            "records",
            "search.halving execution.successive_halving evaluation.rung_packs "
            "execution.workers.packs experiment.experiment experiment.inputs",
        ),
        ("baselines", "baselines.ease ranking.mmr objectives.fairness data.cuts"),
        ("features", "backbone.views training.tuned.tokens"),
        ("tables", "data.table.decode data.table.build data.schema"),
        ("scores of ease", "baselines.ease baselines.base baselines.recency"),
        ("adapted backbones", "training.optimizer kernels.adamw"),
    ],
)
def test_what_decides_is_in_the_closure(what: str, modules: str) -> None:
    found = set(INSTALLED.closure(*ENTRIES[what]))
    assert {f"pareto_rec.{one}" for one in modules.split()} <= found


@pytest.mark.parametrize(
    ("what", "modules"),
    [
        ("fits", "objectives objectives.fairness ranking.mmr experiment.experiment search report"),
        ("scores of ease", "baselines baselines.popularity training.fitting"),
        ("features", "training.fitting models.base"),
        ("tables", "data.movielens objectives.ranking"),
    ],
)
def test_what_decides_nothing_is_not(what: str, modules: str) -> None:
    found = set(INSTALLED.closure(*ENTRIES[what]))
    assert not {f"pareto_rec.{one}" for one in modules.split()} & found


def test_what_is_left_out_is_there_and_says_why() -> None:
    parts = {name.removeprefix("pareto_rec.") for name in INSTALLED.modules}
    assert set(INNOCENT) <= parts
    assert all(INNOCENT.values())


@pytest.mark.parametrize("module", INSTALLED.modules)
def test_imports_are_those_that_a_parser_sees(module: str) -> None:
    tree = ast.parse(INSTALLED.source(module))
    names = {name for name in imported_names(tree) if name.startswith("pareto_rec.")}
    known = INSTALLED.modules
    assert INSTALLED.imports(module) == {
        name if name in known else name.rpartition(".")[0] for name in names
    }


def package(root: Path, **modules: str) -> None:
    for name, content in modules.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_what_a_folder_passes_on_comes_from_its_module(tmp_path: Path) -> None:
    package(
        tmp_path,
        user="from pareto_rec.a import Name\n",
        other="from pareto_rec.a import KNOWN\n",
        late="def f():\n    from pareto_rec.a.first import (\n        Name,  # a (remark)\n    )\n",
        a__first="Name = 1\n",
        a__second="",
    )
    (tmp_path / "a" / "__init__.py").write_text(
        "from pareto_rec.a.first import Name\nfrom pareto_rec.a.second import x\n"
        "KNOWN = [Name, x]\n"
    )
    one = Package(tmp_path)
    closure = {name: set(one.closure(f"pareto_rec.{name}")) for name in ("user", "other", "late")}
    of = {name: {m.removeprefix("pareto_rec.") for m in found} for name, found in closure.items()}
    assert of["user"] == {"user", "a.first"}
    assert of["other"] == {"other", "a", "a.first", "a.second"}
    assert of["late"] == {"late", "a.first"}


def test_a_module_of_another_package_counts_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other_package.py"
    path.write_text("from pareto_rec.core import seeds; x = 1\n")
    module = types.ModuleType("other_package")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "other_package", module)
    before = Package(INSTALLED.root)
    assert before.closure("other_package") == ("other_package", "pareto_rec.core.seeds")
    path.write_text("from pareto_rec.core import seeds; x = 2\n")
    assert Package(INSTALLED.root).code_key("other_package") != before.code_key("other_package")


def test_the_parameters_of_an_expert_that_fits_are_kept_to_name_them() -> None:
    def key(*options: str, **parameters: dict[str, float]) -> str:
        table = tomllib.loads(CONFIG) | {"baseline_parameters": parameters}
        table["space"]["train"]["reference"] = {
            "kind": "choice",
            "options": list(options),
        }
        return Experiment.of(parse_config(table, "test")).data_key("stage", "features", {})

    before = key("popularity", "ease"), key("popularity", "item_knn")
    assert len(set(before)) == 2
    other = {"l2": 101.0}
    after = key("popularity", "ease", ease=other), key("popularity", "item_knn", ease=other)
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_key_is_made_once_and_soon() -> None:
    """A few dozen milliseconds when it is first asked for: nothing that a start would show."""
    began = time.process_time()
    Package(INSTALLED.root).code_key(*fitstore.DECIDING)
    assert time.process_time() - began < 1
    assert code_key(*fitstore.DECIDING) == code_key(*fitstore.DECIDING)
    assert len(code_key(*fitstore.DECIDING)) == 16
