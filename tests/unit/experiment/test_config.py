"""Configs: what is read, overridden, refused; and that what a run saves is what it was given."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import BaseModel

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import cache_dir
from pareto_rec.experiment.config import (
    Config,
    load_any_config,
    load_config,
    parse_config,
    whole,
)
from pareto_rec.experiment.config import sections as parts
from pareto_rec.search.space import Choice, Integer, Real, Simplex

ROOT = Path(__file__).parents[3]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*/config.toml"))

TABLE: dict[str, Any] = {
    "name": "test",
    "question": "Which?",
    "data": {"name": "some-data"},
    "objective": [{"name": "a"}, {"name": "b", "reference": 0.5, "at_most": 1.0}],
    "space": {
        "train": {
            "rate": {"kind": "real", "low": 0.1, "high": 1.0, "log": True},
            "model": {"kind": "choice", "options": ["x", "y"]},
            "layers": {"kind": "integer", "low": 1, "high": 4, "when": {"model": ["y"]}},
        },
        "serve": {"fusion": {"kind": "simplex", "names": ["p", "q"], "floor": {"p": 0.2}}},
    },
    "smoke": {"search": {"population": 4}},
}


def written(folder: Path, table: dict[str, Any]) -> Path:
    path = folder / "config.toml"
    path.write_text(tomli_w.dumps(table))
    return path


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("smoke", [False, True])
def test_experiments_of_the_repository_are_valid(path: Path, smoke: bool) -> None:
    from pareto_rec.experiment.experiment import Experiment
    from pareto_rec.systems.experiment import SystemsExperiment

    config = load_any_config(path.parent, smoke=smoke)
    assert config.name == path.parent.name
    if isinstance(config, Config):
        Experiment.of(config)
    else:
        SystemsExperiment.of(config, cache_dir())


def test_an_experiment_is_a_file_or_its_folder(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE)
    assert load_config(path) == load_config(tmp_path) == parse_config(TABLE, "test")


def test_what_a_run_saves_is_what_it_was_given() -> None:
    config = parse_config(TABLE, "test")
    saved = tomli_w.dumps(config.model_dump(exclude_none=True))
    assert parse_config(tomllib.loads(saved), "saved") == config
    assert Config.model_validate_json(config.model_dump_json()) == config  # as workers get it


def with_serving(**serving: Any) -> Config:
    return parse_config({**TABLE, "search": {"serving": serving}}, "test")


@pytest.mark.parametrize(
    ("given", "budget"), [({}, 2000), ({"settings": 7}, 7), ({"seconds": 60}, 60.0)]
)
def test_a_serving_search_has_one_budget_and_keeps_it(
    given: dict[str, float], budget: float
) -> None:
    config = with_serving(**given)
    assert config.search.serving is not None
    assert config.search.serving.budget == budget
    assert config.search.serving.every == 0
    saved = tomli_w.dumps(config.model_dump(exclude_none=True))
    assert parse_config(tomllib.loads(saved), "saved") == config
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"settings": 0}, "search.serving.settings"),
        ({"settings": -80}, "search.serving.settings"),
        ({"seconds": 0}, "search.serving.seconds"),
        ({"seconds": -5.0}, "search.serving.seconds"),
        ({"every": -1}, "search.serving.every"),
        ({"settings": 10, "seconds": 60}, 'give "settings" or "seconds", not both'),
    ],
)
def test_an_impossible_budget_of_settings_is_refused(given: dict[str, float], words: str) -> None:
    with pytest.raises(BadRequestError) as error:
        with_serving(**given)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_variables_are_built_as_written() -> None:
    space = parse_config(TABLE, "test").space.build()
    assert space.train == {
        "rate": Real(0.1, 1.0, log=True),
        "model": Choice(("x", "y")),
        "layers": Integer(1, 4, when={"model": ("y",)}),
    }
    assert space.serve == {"fusion": Simplex(("p", "q"), {"p": 0.2})}


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("seed=3", ("seed",), 3),
        ("search.population = 12", ("search", "population"), 12),
        ("objective.1.at_least=0.25", ("objective", 1, "at_least"), 0.25),
        ("space.train.rate.high=2.0", ("space", "train", "rate", "high"), 2.0),
        ("fixed.model=self_attention", ("fixed", "model"), "self_attention"),
        ("fixed.model='a = b'", ("fixed", "model"), "a = b"),
        ("question=How much? All of it.", ("question",), "How much? All of it."),
        ("baselines=['p', 'q']", ("baselines",), ["p", "q"]),
    ],
)
def test_an_override_sets_one_key(
    tmp_path: Path, override: str, place: tuple[str | int, ...], value: object
) -> None:
    expected = copy.deepcopy(TABLE)
    here: Any = expected
    for part in place[:-1]:
        here = here[part] if isinstance(here, list) else here.setdefault(part, {})
    here[place[-1]] = value
    assert load_config(written(tmp_path, TABLE), [override]) == parse_config(expected, "expected")


def test_the_last_word_wins(tmp_path: Path) -> None:
    """Smoke over the file, the command line over both."""
    path = written(tmp_path, TABLE)
    assert load_config(path).search.population == Config.model_fields["search"].default.population
    assert load_config(path, smoke=True).search.population == 4
    assert load_config(path, ["search.population=9"], smoke=True).search.population == 9
    assert load_config(path, ["seed=1", "seed=2"]).seed == 2


def test_a_config_cannot_be_altered() -> None:
    config = parse_config(TABLE, "test")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 4  # type: ignore[misc]  # that is the point


def test_the_table_given_is_not_altered() -> None:
    table = copy.deepcopy(TABLE)
    parse_config(table, "test")
    assert table == TABLE


def sections() -> list[type[BaseModel]]:
    return [
        one
        for one in (vars(parts) | vars(whole)).values()
        if isinstance(one, type) and issubclass(one, BaseModel) and one is not BaseModel
    ]


@pytest.mark.parametrize("section", sections(), ids=lambda one: one.__name__)
def test_every_section_is_frozen_strict_and_refuses_unknown_keys(section: type[BaseModel]) -> None:
    chosen = {name: section.model_config.get(name) for name in ("frozen", "strict", "extra")}
    assert chosen == {"frozen": True, "strict": True, "extra": "forbid"}


def test_a_missing_file_and_a_folder_without_config(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.toml"):
        with pytest.raises(BadRequestError, match=r"no config at .*; give a TOML file or its"):
            load_config(path)


def test_an_error_counts_the_others(tmp_path: Path) -> None:
    wrong = TABLE | {"seed": -1, "nam": 3}
    with pytest.raises(BadRequestError, match=r"\(and 1 more\)"):
        load_config(written(tmp_path, wrong))


def test_a_long_value_is_shown_short(tmp_path: Path) -> None:
    wrong = TABLE | {"seed": "x" * 1000}
    with pytest.raises(BadRequestError) as caught:
        load_config(written(tmp_path, wrong))
    assert len(str(caught.value)) < len(str(tmp_path)) + 200
