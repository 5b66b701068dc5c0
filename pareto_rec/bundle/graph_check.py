"""Checks of a bundle's graphs in another process, before they serve.

A graph is a program: opening or running it may take any time and memory. So that is done once in a
process with limits, on small inputs, and the graph that serves is the one with the same checksum.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pareto_rec.bundle.data import BundleData
from pareto_rec.bundle.encoder import reading_of
from pareto_rec.bundle.files import CONFIG, ONNX
from pareto_rec.bundle.graphs import graph_name
from pareto_rec.core.errors import BadRequestError

LARGEST = 1 << 31  # bytes; protobuf reads no more
SECONDS = 60.0  # to open and run all graphs of a form, and a minute more for every gigabyte
PEOPLE, LENGTH = 2, 3  # of the inputs that graphs are tried on


def graph_file(name: str, form: str) -> str:
    """Name of the file of a graph in a form."""
    return f"{ONNX}/{name}{'.int8' if form == 'int8' else ''}.onnx"


def check_graphs(parts: BundleData, form: str) -> None:
    """Try out the graphs of a form.

    Args:
        parts: A bundle that was read from files.
        form: ``"onnx"`` or ``"int8"``.

    Raises:
        BadRequestError: If a graph is missing, is not what a bundle's graph is, or takes too much
            time or memory.
    """
    manifest = parts.manifest
    if manifest is None or form not in parts.about.forms:
        return
    jobs, size = [], 0
    for name, job in _jobs(parts).items():
        file = graph_file(name, form)
        path = manifest.folder / file
        if file not in manifest.files:
            raise BadRequestError(f"{path} is missing; export the bundle again with --{form}")
        if manifest.files[file][0] > LARGEST:
            raise BadRequestError(f"{path} has more than 2 GB, which no graph can have")
        size += manifest.files[file][0]
        jobs.append({**job, "path": str(path), "sha256": manifest.files[file][1]})
    _try_out(jobs, manifest.folder, SECONDS * (1 + size / 1e9))


def _jobs(parts: BundleData) -> dict[str, dict[str, Any]]:
    """Return graph -> its inputs with the shapes to try, and the shapes of its outputs."""
    jobs = {}
    for name, expert in parts.experts.items():
        size = len(expert.bias)
        jobs[f"expert_{name}"] = _job({"items": [PEOPLE, LENGTH]}, {"scores": [PEOPLE, size]}, size)
    for fit_id, fit in parts.fits.items():
        size = fit.shape.n_items
        outputs = {graph_name(task): [PEOPLE, size] for task in fit.shape.towers}
        jobs[f"head_{fit_id}"] = _job({"items": [PEOPLE, fit.spec.history]}, outputs, size)
    if reading_of(parts.config, Path(CONFIG)).text:
        texts = {key: [PEOPLE, LENGTH] for key in ("input_ids", "attention_mask")}
        width = parts.features.shape[1]
        jobs["encoder"] = _job(texts, {"features": [PEOPLE, width]}, 2)
    return jobs


def _job(
    inputs: Mapping[str, list[int]], outputs: Mapping[str, list[int]], below: int
) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": outputs, "below": below}


def _try_out(jobs: list[dict[str, Any]], folder: Path, seconds: float) -> None:
    """Have all graphs tried out by another process.

    Raises:
        BadRequestError: If one fails, or it takes too long.
    """
    command = [sys.executable, "-m", "pareto_rec.bundle.graph_child"]
    given = json.dumps({"graphs": jobs, "seconds": seconds})
    try:
        ended = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise BadRequestError(
            f"{folder / ONNX}: its graphs could not be run within {seconds:.0f} s; export the "
            "bundle again, or load its form fp32"
        ) from None
    lines = ended.stdout.splitlines()
    begun = lines[-1] if lines else str(folder / ONNX)
    if ended.returncode == 2:
        reason = " ".join(ended.stderr.split())[-300:]
        raise BadRequestError(f"{begun} is not a graph of this bundle: {reason}")
    if ended.returncode:
        raise BadRequestError(
            f"{begun} cannot be run within limits of time and memory (its process ended with "
            f"{ended.returncode}); export the bundle again, or load its form fp32"
        )
