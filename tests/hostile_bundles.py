"""Bundles that are sealed with valid checksums and hold what no export writes.

Run as a program it makes and loads them, each in a process of its own:
``python tests/hostile_bundles.py BUNDLE SCRATCH COUNT [SEED]``; it prints one line of JSON each.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from pareto_rec.bundle import Bundle, NewItem, files
from pareto_rec.cli.main import main
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import file_sha256
from pareto_rec.training.fit_store import read_tensors, write_tensors

SECONDS = 90  # after which a load counts as hanging; the machine may be busy
MEMORY = 3 << 30  # bytes that a load may take beside what it begins with
USER, LENGTH = "user 3", 5
Random = np.random.Generator

NUMBERS = (-1, 0, 3, 5000, 10**9, 2**31, 2**62, -(2**63), 1e-30, 1e38, -1e300)
TEXTS = (
    "",
    "\0",
    "a\0b",
    "\ud800",
    "../../x",
    "/etc/passwd",
    "x" * 10**6,
    "nan",
    "\u202eabc",
    "task:x",
)


def _nested(depth: int) -> Any:  # JSON
    found: Any = 0
    for _ in range(depth):
        found = [found]
    return found


def nasty(rng: Random) -> Any:  # JSON
    """A value that is seldom what was expected."""
    plain = [*NUMBERS, *TEXTS, None, True, [], {}, {"": 0}, [[]], 10**400, [None], _nested(300)]
    return plain[int(rng.integers(len(plain)))]


def change_json(content: Any, rng: Random) -> Any:  # JSON
    """The content with one value, anywhere in it, replaced, removed or added."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any, depth: int = 0) -> None:
        keys: list[Any] = []
        if isinstance(value, dict):
            keys = list(value)
        elif isinstance(value, list):
            keys = list(range(len(value)))[:4]  # of many alike a few are enough
        for key in keys:
            places.append((value, key))
            if depth < 8:
                walk(value[key], depth + 1)

    walk(content)
    holder, key = places[int(rng.integers(len(places)))]
    what = rng.random()
    if what < 0.12:
        del holder[key]
    elif what < 0.2 and isinstance(holder, dict):
        holder[str(nasty(rng))[:50]] = nasty(rng)
    else:
        holder[key] = nasty(rng)
    return content


def _dumped(content: Any) -> bytes:
    return json.dumps(content).encode()


def json_file(name: str) -> Callable[[Path, Random], None]:
    def change(folder: Path, rng: Random) -> None:
        path = folder / name
        path.write_bytes(_dumped(change_json(json.loads(path.read_text()), rng)))

    return change


def raw_json(name: str) -> Callable[[Path, Random], None]:
    """JSON that a parser chokes on."""

    def change(folder: Path, rng: Random) -> None:
        texts = ["[" * 200_000, '{"a":' * 100_000, '{"files": ' + "9" * 5000 + "}", "\xff", "",
                 '{"format": NaN}', "null", '{"a": 1', '"' + "x" * 10**6 + '"']  # fmt: skip
        (folder / name).write_bytes(texts[int(rng.integers(len(texts)))].encode("latin-1"))

    return change


def tensors(name: str) -> Callable[[Path, Random], None]:
    def change(folder: Path, rng: Random) -> None:
        path = folder / name
        save_file(change_tensors(load_file(path), rng), path)

    return change


def change_tensors(arrays: dict[str, torch.Tensor], rng: Random) -> dict[str, torch.Tensor]:
    """The tensors with one of them spoilt."""
    name = sorted(arrays)[int(rng.integers(len(arrays)))]
    part = arrays[name]
    flat = part.clone().reshape(-1)
    what = int(rng.integers(9))
    if what <= 2 and flat.numel():  # numbers out of range, the worst kind
        worst = (-1, 5000, 10**9, 2**31 - 1, float("nan"), float("inf"), 1e38, -(2**31), 2**62)
        value = worst[int(rng.integers(len(worst)))]
        at = torch.from_numpy(rng.integers(0, flat.numel(), max(1, flat.numel() // 8)))
        if flat.dtype.is_floating_point:
            flat[at] = value
        else:
            info = torch.iinfo(flat.dtype)
            whole = 10**9 if value != value or abs(value) == float("inf") else int(value)
            flat[at] = int(np.clip(whole, info.min, info.max))
        arrays[name] = flat.reshape(part.shape)
    elif what == 3:
        kinds = (torch.float64, torch.float16, torch.int8, torch.int64, torch.bfloat16, torch.bool)
        arrays[name] = part.to(kinds[int(rng.integers(len(kinds)))])
    elif what == 4:
        arrays[name] = part[: len(part) // 2].clone() if part.dim() else part
    elif what == 5:
        arrays[name] = torch.cat([part, part]) if part.dim() else part
    elif what == 6:
        arrays[name] = flat
    elif what == 7:
        del arrays[name]
    else:
        arrays[f"{name}{TEXTS[int(rng.integers(5))]}\0"] = arrays.pop(name)
    return {key: value.contiguous() for key, value in arrays.items()}


def header(name: str) -> Callable[[Path, Random], None]:
    """A safetensors file whose header lies."""

    def change(folder: Path, rng: Random) -> None:
        path = folder / name
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        said = json.loads(content[8 : 8 + length])
        what = int(rng.integers(5))
        if what == 0:
            path.write_bytes(struct.pack("<Q", 1 << 62) + content[8:])
        elif what == 1:
            path.write_bytes(content[: len(content) // 2])
        else:
            said.pop("__metadata__", None)
            entry = said[sorted(said)[int(rng.integers(len(said)))]]
            if what == 2:
                entry["data_offsets"] = [0, 1 << 50]
            elif what == 3:
                entry["shape"] = [1 << 40, 1 << 40]
            else:
                entry["dtype"] = "F8_E4M3"
            text = json.dumps(said).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return change


def head_note(folder: Path, rng: Random) -> None:
    """What a fit says of itself, with a checksum that is right."""
    paths = sorted((folder / "heads").iterdir())
    path = paths[int(rng.integers(len(paths)))]
    stored = read_tensors(path)
    assert stored is not None
    write_tensors(path, change_json(stored[0], rng), stored[1])


def head_tensors(folder: Path, rng: Random) -> None:
    paths = sorted((folder / "heads").iterdir())
    path = paths[int(rng.integers(len(paths)))]
    stored = read_tensors(path)
    assert stored is not None
    write_tensors(path, stored[0], change_tensors(stored[1], rng))


def sparse(folder: Path, rng: Random) -> None:
    """A sparse expert whose indices or pointers lead out of its arrays."""
    path = folder / files.EXPERTS
    arrays = load_file(path)
    name = "item_knn_recency"
    pointers, indices = arrays[f"{name}.indptr"].clone(), arrays[f"{name}.indices"].clone()
    worst = (5000, 10**9, -1, -(10**9), 24, 2**31 - 1)[int(rng.integers(6))]
    what = int(rng.integers(5))
    if what == 0:
        indices[int(rng.integers(len(indices)))] = worst
    elif what == 1:
        indices[:] = worst
    elif what == 2:
        pointers[int(rng.integers(1, len(pointers)))] = worst
    elif what == 3:
        pointers[-1] = len(indices) + abs(worst) % 1000 + 1
    else:
        pointers[0] = worst
    arrays |= {f"{name}.indptr": pointers, f"{name}.indices": indices}
    save_file(arrays, path)


def config(folder: Path, rng: Random) -> None:
    texts = ["", "[" * 50_000, "a = " + "[" * 50_000, "backbone = 3",
             "[backbone]\nmax_length = 10e9",
             "[backbone]\nmax_length = -5", "[backbone]\ncut = 1000000", "[backbone]\ntext = 7",
             "\0", "[backbone]\nmax_length = 99999999999999999999", "x = '" + "y" * 2_000_000 + "'",
             "[backbone]\ncut = 'x'", "[backbone]\nname = '../../x'\ntext = false"]  # fmt: skip
    (folder / files.CONFIG).write_text(texts[int(rng.integers(len(texts)))])


def foreign_file(folder: Path, rng: Random) -> None:
    """A file that no bundle holds, or one of an unusual kind."""
    what = int(rng.integers(4))
    if what == 0:
        (folder / "heads" / ("x" * 200)).write_bytes(b"0" * 1000)
    elif what == 1:
        (folder / "backbone" / "adapter.pkl").write_bytes(b"\x80\x04.")
    elif what == 2:
        os.truncate(folder / "README.md", 1 << 33)  # a file with holes
    else:
        os.truncate(folder / "config.toml", 1 << 40)


def seal_says(folder: Path, rng: Random) -> None:
    """A manifest with other names, sizes or checksums; its own version is right."""
    content = json.loads((folder / files.MANIFEST).read_text())
    content = change_json(content, rng)
    if isinstance(content.get("files"), dict) and rng.random() < 0.5:
        content["files"][TEXTS[int(rng.integers(len(TEXTS)))][:5000]] = {"sha256": "", "bytes": 0}
    with contextlib.suppress(Exception):
        content["version"] = files._version(content["files"])
    (folder / files.MANIFEST).write_bytes(_dumped(content))


def graph(folder: Path, rng: Random) -> None:
    """A graph that is another one, reads other files, never ends or takes all memory."""
    import onnx
    from onnx import TensorProto, helper

    paths = sorted(path for path in (folder / "onnx").iterdir() if "int8" not in path.name)
    path = paths[int(rng.integers(len(paths)))]
    what = int(rng.integers(6))
    if what == 0:
        path.write_bytes(rng.bytes(2000))
    elif what == 1:
        path.write_bytes(paths[(paths.index(path) + 1) % len(paths)].read_bytes())
    elif what == 2:
        path.unlink()
    elif what == 3:
        model = onnx.load(path)
        for tensor in list(model.graph.initializer)[:1]:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="/etc/passwd")
            tensor.ClearField("raw_data")
        path.write_bytes(model.SerializeToString())
    else:
        size = 10**14 if what == 4 else 4
        shape = helper.make_tensor("shape", TensorProto.INT64, [2], [size, 1000])
        nodes = [helper.make_node("ConstantOfShape", ["shape"], ["big"])]
        if what == 5:
            body = helper.make_graph(
                [helper.make_node("Identity", ["c"], ["d"])], "body",
                [helper.make_tensor_value_info("i", TensorProto.INT64, []),
                 helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
                [helper.make_tensor_value_info("d", TensorProto.BOOL, [])],
            )  # fmt: skip
            true = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor(
                "t", TensorProto.BOOL, [], [True]))  # fmt: skip
            nodes += [true, helper.make_node("Loop", ["", "yes"], [], body=body)]
        old = onnx.load(path).graph
        nodes += [helper.make_node("ReduceSum", ["big"], [old.output[0].name], keepdims=1)]
        made = helper.make_graph(nodes, "g", list(old.input), list(old.output), [shape])
        opset = [helper.make_opsetid("", 18)]
        path.write_bytes(helper.make_model(made, opset_imports=opset).SerializeToString())


CHANGES: dict[str, Callable[[Path, Random], None]] = {
    "sparse": sparse,
    "about": json_file(files.ABOUT),
    "items": tensors(files.ITEMS),
    "head_note": head_note,
    "catalogue": json_file(files.CATALOGUE),
    "log": tensors(files.LOG),
    "experts": tensors(files.EXPERTS),
    "head_tensors": head_tensors,
    "config": config,
    "encoder": json_file("backbone/config.json"),
    "header": header(files.ITEMS),
    "manifest": seal_says,
    "raw_about": raw_json(files.ABOUT),
    "graph": graph,
    "tokenizer": json_file("backbone/tokenizer_config.json"),
    "weights": tensors("backbone/model.safetensors"),
    "foreign": foreign_file,
    "raw_manifest": raw_json(files.MANIFEST),
    "head_header": header("heads/causal.safetensors"),
    "raw_catalogue": raw_json(files.CATALOGUE),
}
AFTER_SEAL = ("manifest", "raw_manifest")


def make(whole: Path, folder: Path, number: int, seed: int) -> str:
    """One hostile bundle; the name of what was changed."""
    rng = np.random.default_rng([seed, number])
    kind = list(CHANGES)[number % len(CHANGES)]
    shutil.copytree(whole, folder)
    with mock.patch.object(files, "file_sha256", _checksum):
        if kind in AFTER_SEAL:
            files.seal(folder)
            CHANGES[kind](folder, rng)
        else:
            CHANGES[kind](folder, rng)
            files.seal(folder)
    return kind


def _checksum(path: Path) -> str:
    """SHA-256; of a file with a terabyte of holes, which would take hours, one that is wrong."""
    return file_sha256(path) if path.stat().st_size < 1 << 30 else "0" * 64


def _load(folder: Path, form: str) -> None:
    """Ask a bundle as the command does, then at every point, by texts and without a history."""
    main(["recommend", str(folder), "--user", USER, "-k", str(LENGTH), "--form", form, "--json"])


def _ask_more(folder: Path, form: str) -> str:
    """What else it answers, or the line with which it refuses to."""
    try:
        bundle = Bundle.load(folder, form=form)
        rows = bundle.parts.history
        people = dict(zip(bundle.parts.users.ids, range(len(bundle.parts.users)), strict=True))
        met = rows.item[rows.user == people.get(USER, -1)]
        for point in bundle.points:
            for user, history in ((USER, None), ("nobody", None), (None, [NewItem("x", "war a")])):
                answer = bundle.recommend(user, history, k=LENGTH, point=point)
                ids = [item.id for item in answer.items]
                assert len(set(ids)) == len(ids) == LENGTH, ids
                assert set(ids) <= set(bundle.parts.items.ids)
                if user == USER:
                    assert not {bundle.parts.items.ids[item] for item in met} & set(ids)
                assert np.isfinite([item.score for item in answer.items]).all(), point
    except BadRequestError as error:
        return f"error: {error}"
    return ""


def _child(folder: Path, form: str, out: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    printed, said, code = io.StringIO(), io.StringIO(), 1
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            _load(folder, form)
        except SystemExit as end:
            code = int(end.code or 0)
        if code == 0:
            try:
                more = _ask_more(folder, form)
                code = 2 if more else 0
                said.write(more)
            except Exception as error:
                code = 1
                said.write(f"{type(error).__name__}: {error}")
    out.write_text(json.dumps({"code": code, "said": said.getvalue()}))


def run(whole: Path, scratch: Path, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Make and load so many bundles, each load in a process of its own."""
    found = []
    Bundle.load(whole).recommend(history=[NewItem("x", "war a")], k=LENGTH)  # all imports, once
    for number in range(count):
        folder, out = scratch / f"{number}", scratch / f"{number}.json"
        kind = make(whole, folder, number, seed)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            try:
                _child(folder, "onnx" if kind == "graph" else "fp32", out)
            finally:
                os._exit(0)
        status = _wait(child)
        took = time.monotonic() - began
        said = json.loads(out.read_text()) if out.is_file() else {"code": status, "said": "died"}
        found.append({"number": number, "kind": kind, "seconds": round(took, 2), **said})
        shutil.rmtree(folder)
    return found


def _wait(child: int) -> int:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -99


if __name__ == "__main__":
    torch.set_num_threads(1)  # a child of a process with threads of its own could not start any
    for entry in run(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])):
        print(json.dumps(entry))
