"""A fit of all systems, and the store that keeps it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pareto_rec.core.code_keys import code_key
from pareto_rec.core.paths import swapped
from pareto_rec.models.base import Params
from pareto_rec.systems.spec import JointSpec, joint_spec
from pareto_rec.training.fit_store import read_tensors, write_tensors

TRUNK = "trunk"  # in place of a system, before the shared parameters


@dataclass(frozen=True)
class JointFit:
    """The result of one fine-tune of all systems.

    Attributes:
        spec: Training variables that they share.
        own: System -> its own training variables.
        params: Its parameters (no leading dimension), ``SYSTEM/NAME``; empty if it failed.
        curve: ``(step, validation value)`` at every look.
        best_step: Step of the parameters kept.
        seconds: Time of its training.
        reason: Why it failed, or None.
    """

    spec: JointSpec
    own: Mapping[str, Mapping[str, Any]]
    params: Mapping[str, Tensor]
    curve: tuple[tuple[int, float], ...]
    best_step: int
    seconds: float
    reason: str | None = None

    @property
    def steps(self) -> int:
        """Training steps up to its last look."""
        return self.curve[-1][0] if self.curve else 0

    def part(self, owner: str) -> Params:
        """Return the parameters of a system, or of the `TRUNK`, stacked ``[1, ...]``."""
        begin = f"{owner}/"
        return {
            name.removeprefix(begin): value.unsqueeze(0)
            for name, value in self.params.items()
            if name.startswith(begin)
        }


class JointStore:
    """Fits under (training variables, seed, data, features, code)."""

    def __init__(self, folder: Path, data_key: str) -> None:
        """Open the fits of some systems in a folder.

        Args:
            folder: Made when the first fit is stored.
            data_key: Names data, splits, options and features of all systems.
        """
        self.folder, self.data_key = folder, data_key

    def id(self, spec: JointSpec, own: Mapping[str, Mapping[str, Any]], seed: int) -> str:
        """Return sixteen hex digits that name a fit by what decides it."""
        code = code_key("pareto_rec.systems.training")
        content = [asdict(spec), {n: dict(v) for n, v in own.items()}, seed, self.data_key, code]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def path(self, fit_id: str) -> Path:
        """Return where a fit lies."""
        return self.folder / f"{fit_id}.safetensors"

    def get(self, fit_id: str) -> JointFit | None:
        """Return the stored fit; None where there is none or the file is damaged."""
        stored = read_tensors(self.path(fit_id))
        if stored is None:
            return None
        content, tensors = stored
        return JointFit(
            joint_spec(content["spec"]),
            content["own"],
            tensors,
            tuple((int(step), float(value)) for step, value in content["curve"]),
            content["best_step"],
            content["seconds"],
        )

    def put(self, fit_id: str, fit: JointFit) -> None:
        """Store a fit in one step; failed ones are not stored."""
        if fit.reason is not None:
            return
        content = {
            "spec": asdict(fit.spec),
            "own": {name: dict(values) for name, values in fit.own.items()},
            "curve": fit.curve,
            "best_step": fit.best_step,
            "seconds": fit.seconds,
        }
        write_tensors(self.path(fit_id), content, fit.params)

    def copy(self, fit_id: str, folder: Path) -> None:
        """Copy a stored fit into a run's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{fit_id}.safetensors"
        with swapped(target) as temporary:
            shutil.copyfile(self.path(fit_id), temporary)
