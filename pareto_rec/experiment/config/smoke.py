"""What ``--smoke`` bounds, so that a try is under two minutes on any log.

What takes long is the encoding of texts, then lists for many users, then training steps. A try
therefore takes a sample of whole users and of what they met, short texts, few steps and few
settings; a key that the config's own ``[smoke]`` names is own_keys.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

SAMPLE = {"users": 1_000, "items": 2_000}
EVALUATED = 1_000  # users, where a sample of the data would not fit what was learnt before
MOST = {
    "backbone.max_length": 32,
    "fixed.steps": 50,
    "search.population": 6,
    "search.generations": 2,
    "search.offspring": 6,
    "search.first": 6,
    "search.sweep": 6,
    "tuning.settings": 6,
}
_DEFAULTS = {
    "backbone.max_length": 64,
    "fixed.steps": 250,
    "search.population": 24,
    "search.generations": 8,
    "search.sweep": 24,
    "tuning.settings": 24,
}

Table = dict[str, Any]


def bounded(table: Mapping[str, Any], own_keys: Collection[str]) -> Table:
    """A config, its own ``[smoke]`` applied, with bounds on what a try may cost.

    Args:
        table: As TOML, right or wrong; not altered.
        own_keys: Dotted keys that are left as they are.
    """
    quick = copy.deepcopy(dict(table))
    searched = _at(quick, "space.train") or {}
    for key, most in MOST.items():
        section, _, name = key.partition(".")
        value = (_at(quick, section) or {}).get(name, _DEFAULTS.get(key, 0))
        if key in own_keys or (section == "fixed" and name in searched):
            continue
        if section == "backbone" and _learnt_before(quick):
            continue
        if isinstance(value, int) and value > most:
            own = quick.setdefault(section, {})
            if isinstance(own, dict):
                own[name] = most
    if isinstance(searched.get("steps"), dict) and not _below(own_keys, "space.train.steps"):
        searched["steps"] = _fewer(searched["steps"], MOST["fixed.steps"])
    if not _below(own_keys, "search.fidelity"):
        _rungs(quick)
    _sample(quick, own_keys)
    return quick


def _at(table: Mapping[str, Any], key: str) -> Any:
    """A table below a dotted key; None where there is none."""
    here: Any = table
    for part in key.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else None


def _below(own_keys: Collection[str], key: str) -> bool:
    return any(one == key or one.startswith(f"{key}.") for one in own_keys)


def _fewer(variable: Table, most: int) -> Table:
    """A variable of steps whose values stay below a bound."""
    bounds = {
        name: min(variable[name], most)
        for name in ("low", "high")
        if isinstance(variable.get(name), int)
    }
    if isinstance(variable.get("options"), list):
        options = [min(v, most) if isinstance(v, int) else v for v in variable["options"]]
        bounds["options"] = list(dict.fromkeys(options))
    if bounds.get("low", 0) == bounds.get("high", 1):
        bounds["low"] = max(most // 2, 1)
    return {**variable, **bounds}


def _rungs(quick: Table) -> None:
    """Rungs lie below the steps that are left."""
    fidelity = _at(quick, "search.fidelity")
    steps = (_at(quick, "fixed") or {}).get("steps", _DEFAULTS["fixed.steps"])
    searched = (_at(quick, "space.train") or {}).get("steps")
    if isinstance(searched, dict) and isinstance(searched.get("low"), int):
        steps = searched["low"]
    if fidelity is None or not isinstance(steps, int):
        return
    rungs = fidelity.get("rungs", [25])
    if isinstance(rungs, list) and all(isinstance(r, int) for r in rungs) and steps > 1:
        fidelity["rungs"] = [r for r in rungs if r < steps] or [steps // 2]


def _learnt_before(table: Table) -> bool:
    """Whether something that was learnt on the whole data, and read so, is asked for."""
    return bool((_at(table, "backbone") or {}).get("adapted") or table.get("references"))


def _sample(quick: Table, own_keys: Collection[str]) -> None:
    if _learnt_before(quick):
        evaluate = quick.setdefault("evaluate", {})
        if isinstance(evaluate, dict) and "evaluate.users" not in own_keys:
            users = evaluate.get("users", 0)
            if isinstance(users, int) and not 0 < users <= EVALUATED:
                evaluate["users"] = EVALUATED
        return
    sample = quick.setdefault("sample", {})
    for name, most in SAMPLE.items():
        if isinstance(sample, dict) and f"sample.{name}" not in own_keys:
            value = sample.get(name, 0)
            if isinstance(value, int) and not 0 < value <= most:
                sample[name] = most
