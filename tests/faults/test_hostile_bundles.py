"""Bundles with valid checksums that hold what no export writes: refused, or they serve lists."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import hostile_bundles
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bundle import tiny_parts

from pareto_rec.bundle import Bundle, files, write_bundle
from pareto_rec.bundle.onnx_export import export_graphs
from pareto_rec.core.errors import BadRequestError

pytestmark = pytest.mark.usefixtures("single_thread")

COUNT = int(os.environ.get("PARETO_REC_HOSTILE", "20"))
EXPERT = "item_knn_recency"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("bundle")
    parts = tiny_parts(folder)
    about = parts.about.model_copy(update={"forms": ["fp32", "onnx"]})
    parts = dataclasses.replace(parts, about=about)
    write_bundle(folder / "tiny", parts)
    heads = Bundle.of(parts).engine.form.heads  # type: ignore[attr-defined]  # of its form fp32
    export_graphs(folder / "tiny", parts, heads, onnx=True, int8=False)
    files.seal(folder / "tiny")
    return folder / "tiny"


def test_each_is_refused_with_one_line_or_serves_lists(whole: Path, tmp_path: Path) -> None:
    """No traceback, memory error, end by a signal or hang; of every kind of change at least one."""
    command = [sys.executable, hostile_bundles.__file__, str(whole), str(tmp_path), str(COUNT)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    entries = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(entries) == COUNT
    assert {entry["kind"] for entry in entries} == {*list(hostile_bundles.CHANGES)[:COUNT]}
    wrong = [entry for entry in entries if not _held(entry)]
    assert not wrong
    refused = [entry for entry in entries if entry["code"] == 2]
    assert len(refused) > COUNT / 2
    assert all(entry["seconds"] < hostile_bundles.SECONDS for entry in entries)


def _held(entry: dict[str, object]) -> bool:
    lines = str(entry["said"]).strip().splitlines()
    if entry["code"] == 0:
        return not lines
    errors = [line for line in lines if line.startswith("error: ")]
    return entry["code"] == 2 and len(errors) == 1 and lines[-1] == errors[0]


@pytest.mark.parametrize("index", [24, 5000, 10**9, -1, -(10**9)])
def test_an_index_out_of_range_never_reaches_a_loop(
    whole: Path, tmp_path: Path, index: int
) -> None:
    folder = tmp_path / "copy"
    hostile_bundles.shutil.copytree(whole, folder)
    arrays = load_file(folder / files.EXPERTS)
    indices = arrays[f"{EXPERT}.indices"]
    indices[7] = index
    save_file(arrays, folder / files.EXPERTS)
    files.seal(folder)
    with pytest.raises(BadRequestError, match=rf'{EXPERT}.indices" holds {index}, which is not'):
        Bundle.load(folder)
    with pytest.raises(BadRequestError, match="which is not"):
        Bundle.load(folder, verify=False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda pointers, _: pointers.__setitem__(0, 1), "does not rise from 0"),
        (lambda pointers, _: pointers.__setitem__(3, int(pointers[2]) - 1), "does not rise from 0"),
        (lambda pointers, _: pointers.__setitem__(-1, 340), "does not rise from 0 to 3"),
        (lambda _, indices: indices.__setitem__(1, int(indices[0])), "an item twice in a row"),
    ],
)
def test_pointers_and_repeated_items(
    whole: Path, tmp_path: Path, change: hostile_bundles.Callable[..., None], says: str
) -> None:
    folder = tmp_path / "copy"
    hostile_bundles.shutil.copytree(whole, folder)
    arrays = load_file(folder / files.EXPERTS)
    change(arrays[f"{EXPERT}.indptr"], arrays[f"{EXPERT}.indices"])
    save_file(arrays, folder / files.EXPERTS)
    files.seal(folder)
    with pytest.raises(BadRequestError, match=says):
        Bundle.load(folder)


def test_the_limits_hold_for_every_learnt_number(whole: Path, tmp_path: Path) -> None:
    """One NaN, infinity or huge number anywhere in tensors of float32 is refused."""
    for number, (name, tensor) in enumerate(_learnt(whole)):
        for value in (float("nan"), float("inf"), -1e30):
            folder = tmp_path / f"{number} {value}"
            hostile_bundles.shutil.copytree(whole, folder)
            arrays = load_file(folder / name)
            arrays[tensor].view(-1)[-1] = value
            save_file(arrays, folder / name)
            files.seal(folder)
            with pytest.raises(BadRequestError, match=tensor.replace(".", r"\.")):
                Bundle.load(folder)


def _learnt(folder: Path) -> list[tuple[str, str]]:
    return [
        (name, tensor)
        for name in (files.ITEMS, files.EXPERTS)
        for tensor, values in load_file(folder / name).items()
        if values.dtype == torch.float32 and np.prod(values.shape)
    ]
