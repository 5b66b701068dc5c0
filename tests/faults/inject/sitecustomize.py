"""Makes fits fail on purpose: in every Python process that has this folder on its PYTHONPATH.

FAULTS: for each fault a learning rate, from the highest down; a fit whose learning rate lies at or
above it, and below those of the faults before, fails that way.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

TARGET = "pareto_rec.evaluation.evaluator"


def strike(fault: str) -> None:
    if fault == "raise":
        raise ValueError("made to fail\nwith a second line")
    if fault == "hang":
        time.sleep(600)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "memory":
        raise MemoryError


def spoil(module: ModuleType) -> None:
    faults: dict[str, float] = json.loads(os.environ["FAULTS"])
    fit = module.train_pack  # type: ignore[attr-defined]

    def failing(specs: list[Any], *rest: Any, **more: Any) -> Any:
        for spec in specs:
            for fault, rate in faults.items():
                if spec.learning_rate >= rate:
                    strike(fault)
                    break
        return fit(specs, *rest, **more)

    module.train_pack = failing  # type: ignore[attr-defined]


class Spoiler(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads the module as always, then spoils it."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.loader is not None
        self.loader = found.loader
        found.loader = self
        return found

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        spoil(module)


if "FAULTS" in os.environ:
    sys.meta_path.insert(0, Spoiler())
