"""The committed reference pages say what the registries say now."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from pareto_rec.core.declarations import variable
from pareto_rec.core.limits import Number, Numbers

DOCS = Path(__file__).parents[2] / "docs"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load()


@pytest.mark.parametrize("name", GENERATE.PAGES)
def test_a_page_is_what_is_generated_now(name: str) -> None:
    committed = (DOCS / name).read_text(encoding="utf-8")
    assert committed == GENERATE.PAGES[name](), (
        f"run python docs/generate.py: {name} is out of date"
    )


@pytest.mark.parametrize(
    ("page", "registry"),
    [
        ("objectives.md", {**GENERATE.FAMILIES, **GENERATE.GROUPS}),
        ("splits.md", GENERATE.SPLITS),
        ("losses.md", GENERATE.LOSSES),
        ("aggregation.md", GENERATE.AGGREGATORS),
        ("pickers.md", GENERATE.PICKERS),
        ("tasks.md", {"Loss of a task": GENERATE.TaskLoss, **GENERATE.TRUNKS}),
    ],
)
def test_every_entry_has_a_section_that_says_something(
    page: str, registry: dict[str, object]
) -> None:
    sections = GENERATE.PAGES[page]().split("\n## ")[1:]
    titles = [section.partition("\n")[0] for section in sections]
    assert titles == list(registry)
    for section in sections:
        assert len(section.split()) > 8, section
        assert "Args:" not in section
        assert "``" not in section


@pytest.mark.parametrize("page", ["variables.md", "config.md"])
def test_every_key_is_explained(page: str) -> None:
    rows = [line for line in GENERATE.PAGES[page]().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    unexplained = [row for row in rows if not row.rstrip(" |").split("|")[-1].strip(" `")]
    assert not unexplained
    assert not [row for row in rows if row.endswith("|  |")]


def test_an_objective_says_when_it_misleads_and_where_it_comes_from() -> None:
    for section in GENERATE.PAGES["objectives.md"]().split("\n## ")[1:]:
        assert "**Misleads:**" in section
        assert "**Source:**" in section


@dataclass(frozen=True)
class Bent:
    """Variables of a made-up model."""

    curvature: float = variable(0.5, Number(low=0, high=2), "Bent|curved.", shared=True)
    boosts: Mapping[str, float] = variable({}, Numbers("gain", pattern="boost.NAME"), "Powers.")


def test_the_row_of_a_variable_is_its_declaration() -> None:
    assert GENERATE.declared_in(Bent).splitlines()[2:] == [
        "| `curvature` | `0.5` | a number at least 0 and at most 2 | Bent\\|curved. *Shared.* |",
        "| `boosts` | `{  }` | a number for each gain, searched as `boost.NAME` | Powers. |",
    ]
