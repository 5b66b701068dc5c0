"""Store of fits on disk, so that nothing is trained twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pareto_rec.core.code_keys import code_key
from pareto_rec.core.errors import FORMER_NAMES
from pareto_rec.core.leftovers import spare_path
from pareto_rec.core.paths import swapped
from pareto_rec.core.provenance import versions
from pareto_rec.core.sealed import damaged
from pareto_rec.models.base import Shape
from pareto_rec.training.data import Fit
from pareto_rec.training.spec import TrainSpec

DECIDING = tuple(
    f"pareto_rec.{module}"
    for module in (
        *("data.sample", "data.split"),  # sampled users, and what is learnt from
        *("evaluation.reference_policies", "evaluation.training_data", "evaluation.monitor"),
        *("training.fitting", "training.checkpoints"),
    )
)
"""Modules that decide what a fit is, with all that they import."""
LIBRARIES = ("numba", "numpy", "scipy", "torch", "torchjd", "transformers")
_FILE = "file"  # name of the file, in its own description
_DIFFERENCE = "backbone/"  # before the names of what tuned layers have learnt


@cache
def code_hash() -> str:
    """Hash the code that decides what a fit is, so that no stale fit outlives a change."""
    installed = versions()
    content = json.dumps([code_key(*DECIDING), {name: installed[name] for name in LIBRARIES}])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class FitStore:
    """Fits under (training variables, seed, data, features, code)."""

    def __init__(self, folder: Path, data_key: str) -> None:
        """Open the fits of one stage and one set of features in a folder.

        Args:
            folder: Made when the first fit is stored.
            data_key: Names data, stage and features.
        """
        self.folder, self.data_key = folder, data_key

    def id(self, spec: TrainSpec, seed: int) -> str:
        """Return sixteen hex digits that name a fit by what decides it."""
        content = [asdict(spec), seed, self.data_key, code_hash()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def path(self, fit_id: str) -> Path:
        """Return where a fit lies."""
        return self.folder / f"{fit_id}.safetensors"

    def get(self, fit_id: str) -> Fit | None:
        """Return the stored fit; None where there is none or the file is damaged."""
        stored = read_tensors(self.path(fit_id))
        return None if stored is None else fit_of(*stored)

    def copy(self, fit_id: str, folder: Path) -> None:
        """Copy a stored fit into a run's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{fit_id}.safetensors"
        with swapped(target) as temporary:
            shutil.copyfile(self.path(fit_id), temporary)

    def put(self, fit_id: str, fit: Fit) -> None:
        """Store a fit in one step; failed ones are not stored."""
        if fit.reason is not None:
            return
        write_tensors(self.path(fit_id), *parts_of(fit))


def _checksum(text: str, params: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 over the description and every parameter; safetensors itself has none."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(params):
        digest.update(f"{name} {tuple(params[name].shape)}".encode())
        flat = params[name].contiguous().reshape(-1)
        digest.update(
            flat.view(torch.uint8).numpy().data
        )  # any type, those that numpy lacks as well
    return digest.hexdigest()


def write_tensors(path: Path, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors and a description of them in one step, with a checksum over both.

    Raises:
        OSError, SafetensorError: If that is not possible; the file is as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    placed = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps({**content, _FILE: path.name})
    save_tensors(path, placed, {"fit": f"{_checksum(text, placed)} {text}"})


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], note: dict[str, str] | None = None
) -> None:
    """Write a safetensors file in one step, with the permissions of other new files.

    Args:
        path: The file; its folder exists.
        tensors: Contiguous tensors on the CPU.
        note: Text that is kept with them.

    Raises:
        OSError, SafetensorError: If that is not possible; the file is as it was before.
    """
    temporary = spare_path(path)
    try:
        with temporary.open("xb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)  # what the umask leaves
        save_file(dict(tensors), temporary, note)
        temporary.chmod(mode)  # safetensors makes files that their owner alone can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What :func:`write_tensors` wrote; None where there is none or the file is damaged."""
    if not path.exists():
        return None
    stored = checked_tensors(path, path.name)
    if stored is None:
        damaged(path)
    return stored


def checked_tensors(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What :func:`write_tensors` wrote under a name; None where the file is damaged.

    Args:
        path: The file; a descriptor's path has another name than the file.
        name: The file's name.
    """
    with suppress(OSError, SafetensorError, ValueError, TypeError):
        with safe_open(path, framework="pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - no mapping
            checksum, _, text = (stored.metadata() or {}).get("fit", "").partition(" ")
        if _checksum(text, tensors) == checksum:
            content = json.loads(text)
            if content.pop(_FILE, name) == name:  # else it lies in another's place
                return content, tensors
    return None


def parts_of(fit: Fit) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors of a fit."""
    content = {
        "spec": asdict(fit.spec),
        "shape": asdict(fit.shape),
        "curve": fit.curve,
        "best_step": fit.best_step,
        "seconds": fit.seconds,
    }
    return content, {**fit.params, **{_DIFFERENCE + n: x for n, x in fit.difference.items()}}


def fit_of(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Fit:
    """Return the fit that :func:`parts_of` took apart."""
    return Fit(
        TrainSpec(**{FORMER_NAMES.get(name, name): x for name, x in content["spec"].items()}),
        Shape(**{**content["shape"], "tasks": tuple(content["shape"].get("tasks", ()))}),
        {name: value for name, value in tensors.items() if not name.startswith(_DIFFERENCE)},
        tuple((int(step), float(value)) for step, value in content["curve"]),
        content["best_step"],
        content["seconds"],
        difference={
            name.removeprefix(_DIFFERENCE): value
            for name, value in tensors.items()
            if name.startswith(_DIFFERENCE)
        },
    )
