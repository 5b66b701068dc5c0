"""Kinds of ablation: one part removed or replaced, at the same number of fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pareto_rec.experiment.config import Config, parse_config
from pareto_rec.experiment.config.sections import SearchConfig
from pareto_rec.ranking import NETWORK
from pareto_rec.search.space import SearchSpace, Simplex
from pareto_rec.search.variables import named_values
from pareto_rec.tasks import EXPONENTS

Table = dict[str, Any]  # a config as a plain table
WEIGHTS = "loss_weights"


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        name: Folder of its run below ``controls/``.
        instead: What it does where the search does something else, in a few words.
        part: What the comparison says something about.
        derive: From the config's table and its space to the control's table.
    """

    name: str
    instead: str
    part: str
    derive: Callable[[Table, SearchSpace], Table]


def _blind(table: Table, algorithm: str) -> Table:
    """Return proposals that nothing is learnt for."""
    table["search"] |= {"algorithm": algorithm, "surrogate": "none"}
    return table


def _random(table: Table, _: SearchSpace) -> Table:
    return _blind(table, "random")


def _middle(space: SearchSpace) -> Mapping[str, Any]:
    """Return every training variable at the middle of its range."""
    return named_values(space.train, space.middle({}).train)


def _weight_sweep(table: Table, space: SearchSpace) -> Table:
    table = _blind(table, "quasi_random")
    table["search"]["corners"] = False
    table["fixed"] |= {name: value for name, value in _middle(space).items() if name != WEIGHTS}
    table["space"]["train"] = {WEIGHTS: table["space"]["train"][WEIGHTS]}
    return table


def _equal_weights(table: Table, space: SearchSpace) -> Table:
    simplex = space.train[WEIGHTS]
    assert isinstance(simplex, Simplex)
    share = (1.0 - sum(simplex.floor.values())) / len(simplex.names)
    equal = {name: simplex.floor.get(name, 0.0) + share for name in simplex.names}
    del table["space"]["train"][WEIGHTS]
    table["fixed"][WEIGHTS] = equal
    return table


def _fusion_of(table: Table, names: list[str]) -> Table:
    fusion = table["space"]["serve"]["fusion"]
    fusion["floor"] = {k: v for k, v in fusion.get("floor", {}).items() if k in names}
    if len(names) > 1:
        fusion["names"] = names
    else:
        del table["space"]["serve"]["fusion"]
        table["serving"] |= {"fusion": {names[0]: 1.0}}
    return table


def _no_network(table: Table, space: SearchSpace) -> Table:
    fusion = space.serve["fusion"]
    assert isinstance(fusion, Simplex)
    search = table["search"]
    fits, generations = SearchConfig.model_validate(search).fits, search["generations"]
    search["sweep"] = round(search["sweep"] * fits / generations)  # no fit, as many records
    search |= {"population": 2, "offspring": 1, "first": 1}
    table["space"]["train"] = {}
    for section in (
        table["space"]["serve"],
        table["serving"],
    ):  # powers of what no network predicts
        for name in [name for name in section if EXPONENTS.name_of(name)]:
            del section[name]
    return _fusion_of(table, [name for name in fusion.names if name != NETWORK])


def _no_experts(table: Table, _: SearchSpace) -> Table:
    return _fusion_of(table, [NETWORK])


def _no_text(table: Table, _: SearchSpace) -> Table:
    table["backbone"]["text"] = False
    table["space"]["train"].pop("item_dropout", None)
    table["fixed"]["item_dropout"] = 0.0
    return table


def _no_serving(table: Table, _: SearchSpace) -> Table:
    table["space"]["serve"] = {}
    table["search"]["sweep"] = 1
    return table


CONTROLS: Mapping[str, Control] = {
    control.name: control
    for control in (
        Control("random_search", "random candidates", "the search algorithm", _random),
        Control(
            "weight_sweep",
            "an even sweep of the loss weights, all else at the middle of its range",
            "searching more than loss weights",
            _weight_sweep,
        ),
        Control("equal_weights", "equal loss weights", "searching loss weights", _equal_weights),
        Control("no_network", "experts alone", "the network", _no_network),
        Control("no_experts", "the network alone", "fusing experts", _no_experts),
        Control("no_text", "item embeddings alone", "the text", _no_text),
        Control(
            "no_serving", "one record a fit, as the network ranks", "serving variables", _no_serving
        ),
    )
}


def applicable(config: Config) -> list[Control]:
    """Return the controls that take something away from this config."""
    serve, train = config.space.serve, config.space.train
    has_fusion = "fusion" in serve and NETWORK in (serve["fusion"].names or [])
    needs = {
        "weight_sweep": WEIGHTS in train and len(train) > 1,
        "equal_weights": WEIGHTS in train,
        "no_network": has_fusion,
        "no_experts": has_fusion,
        "no_serving": bool(serve),
    }
    return [control for name, control in CONTROLS.items() if needs.get(name, True)]


def derive(config: Config, control: Control) -> Config:
    """Return the config of a control: same data, seed, objectives and number of fits."""
    table = config.model_dump(exclude_none=True)
    table = control.derive(table, config.space.build())
    table["baselines"] = []
    return parse_config(table, f"control {control.name}")
