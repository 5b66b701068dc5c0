"""What decides the records of a run: a search that goes on must not differ in any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pareto_rec.core.code_keys import code_key
from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.config import AnyConfig

MAY_CHANGE = (
    *("question", "smoke", "search.generations", "search.timeout_s", "search.retries"),
    *("baselines", "search.serving.settings", "search.serving.seconds"),
)
VERSIONS = (
    "torch",
    "torchjd",
    "transformers",
    "pymoo",
    "moocore",
    "numba",
    "numpy",
    "scipy",
    "scikit-learn",
)
DECIDING = tuple(
    f"pareto_rec.{module}"
    for module in (
        "experiment.experiment",
        "execution.two_levels",
        "execution.successive_halving",
        "search",
        "execution.workers.packs",
    )
)
"""Modules that decide which records there are and what they say, with all that they import."""

_NONE = object()


def code_hash() -> str:
    """Sixteen hex digits of the code that decides records."""
    return code_key(*DECIDING)


def config_differences(before: AnyConfig, now: AnyConfig) -> list[str]:
    """Keys that decide records and differ, each as ``key: before -> now``."""
    return _differences(before.model_dump(), now.model_dump())


def info_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Versions, device and hashes of run.json that differ.

    Args:
        before: What the run was begun with.
        now: The same of this process; what it leaves out is not compared.
    """
    found: list[str] = []
    for table, names in (
        ("versions", VERSIONS),
        ("hardware", ("device",)),
        ("hashes", ("stage", "features", "references", "code")),
    ):
        old, new = before.get(table, {}), now.get(table, {})
        kept = [name for name in names if name in new]
        found += _differences(
            {name: old.get(name) for name in kept}, {name: new[name] for name in kept}
        )
    words = {"stage": "data", "features": "features", "references": "references"}
    words |= {"code": "code of pareto_rec"}
    return [
        _of_hash(words[key], before, now) if key in words else line
        for line, key in ((line, line.partition(":")[0]) for line in found)
    ]


def refuse(run: object, differences: list[str]) -> None:
    """Refuse to go on with a run that would go on differently.

    Raises:
        BadRequestError: If there is a difference; every one is named.
    """
    if differences:
        raise BadRequestError(
            f"{run} cannot go on as it began: {'; '.join(differences)}; undo that, or begin a new "
            "run, which finds in the cache what has not changed"
        )


def _of_hash(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    commits = before.get("git_commit"), now.get("git_commit")
    if what.startswith("code") and None not in commits and commits[0] != commits[1]:
        return f"{what} has changed: commit {commits[0]} -> {commits[1]}"
    return f"{what} has changed"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return [
        f"{key}: {_shown(old.get(key, _NONE))} -> {_shown(new.get(key, _NONE))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key, _NONE) != new.get(key, _NONE) and not _may_change(key)
    ]


def _may_change(key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in MAY_CHANGE)


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; entries of a list are counted from 0."""
    rows = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, part in rows:
        name = f"{prefix}{key}"
        tables = isinstance(part, list) and any(isinstance(one, Mapping) for one in part)
        if (isinstance(part, Mapping) and part) or tables:
            yield from _leaves(part, f"{name}.")
        else:
            yield name, part


def _shown(value: object) -> str:
    return "none" if value is _NONE or value is None else repr(value)
