"""The tiny experiment's config with changes."""

from __future__ import annotations

from typing import Any

from tiny_experiment import CONFIG

from pareto_rec.experiment.config import Config, parse_config


def config(**changes: Any) -> Config:
    import tomllib

    table = tomllib.loads(CONFIG)
    for key, value in changes.items():
        *parents, last = key.split("__")
        here = table
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = value
    return parse_config(table, "test")
