"""What every training and serving variable promises, and that a new one needs no other file.

That its row of the page needs none either is in tests/repository/test_docs.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from pareto_rec.core.declarations import declarations, variable
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.limits import Number, Numbers
from pareto_rec.experiment import limits
from pareto_rec.ranking import ServingParams
from pareto_rec.search.space import Real, SearchSpace
from pareto_rec.training import spec as specs
from pareto_rec.training.spec import TrainSpec

PAGE = (Path(__file__).parents[2] / "docs" / "variables.md").read_text(encoding="utf-8")
EVERY = [(build, field.name) for build in (TrainSpec, ServingParams) for field in fields(build)]
DEPTH = Number(low=0, high=2)


def _trains_deep(spec: Extended) -> bool:
    return spec.layers > 2


@dataclass(frozen=True)
class Extended(TrainSpec):
    """Training variables with two more."""

    curvature: float = variable(0.5, DEPTH, "How bent it is.", shared=True)
    bend: float = variable(1.0, DEPTH, "How much deeper layers bend.", needs=_trains_deep)


@dataclass(frozen=True)
class Served(ServingParams):
    """Serving variables with one more."""

    bias: float = variable(0.0, Number(low=-1, high=1), "Added to every score.")


@pytest.mark.parametrize(("build", "name"), EVERY)
def test_a_variable_has_a_default_within_its_limit(build: type, name: str) -> None:
    declaration = declarations(build)[name]
    assert getattr(build(), name) == declaration.default
    declaration.limit.check(declaration.default)
    assert type(declaration.default) in (str, int, float, dict)


@pytest.mark.parametrize(("build", "name"), EVERY)
def test_a_variable_is_explained_in_the_docs(build: type, name: str) -> None:
    declaration = declarations(build)[name]
    assert declaration.doc.endswith(".")
    assert declaration.doc == " ".join(declaration.doc.split())
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert declaration.doc in row
    assert ("*Shared.*" in row) == (declaration.shared is True)
    if isinstance(declaration.limit, Numbers):
        assert declaration.limit.pattern in row


def test_a_new_training_variable_needs_its_declaration_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(specs, "TrainSpec", Extended)
    monkeypatch.setattr(limits, "TrainSpec", Extended)
    space = SearchSpace({"curvature": Real(0.0, 2.0)}, {})
    limits.check_variables({"bend": 2}, {}, space)
    with pytest.raises(BadRequestError, match=r"fixed\.bend: 3 is out of range: it must be"):
        limits.check_variables({"bend": 3}, {}, space)
    with pytest.raises(BadRequestError, match=r"space\.train\.curvature: 2\.5 is out of range"):
        limits.check_variables({}, {}, SearchSpace({"curvature": Real(0.0, 2.5)}, {}))
    spec = specs.train_spec({"bend": 2.0}, {"curvature": 1.5})
    assert spec == Extended(curvature=1.5)  # the other has no effect on two layers
    deep = specs.train_spec({"bend": 2.0, "layers": 3}, {})
    assert deep == Extended(layers=3, bend=2.0)
    assert specs.pack_key(deep) == specs.pack_key(replace(deep, bend=1.0))
    assert specs.pack_key(deep) != specs.pack_key(replace(deep, curvature=1.0))


def test_a_new_serving_variable_needs_its_declaration_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ServingParams", Served)
    limits.check_variables({}, {"bias": -1}, SearchSpace({}, {}))
    limits.check_variables({}, {}, SearchSpace({}, {"bias": Real(-1.0, 1.0)}))
    for table, space in (({"bias": 2}, {}), ({}, {"bias": Real(0.0, 2.0)})):
        with pytest.raises(BadRequestError, match=r"bias: 2(\.0)? is out of range"):
            limits.check_variables({}, table, SearchSpace({}, space))
