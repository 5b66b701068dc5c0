"""Process that tries out graphs: ``python -m pareto_rec.bundle.graph_child`` (`graph_check`).

It prints the path of each graph before it touches it, so that its last line names the one that
ended it. Exit code 2: a graph is not as it should be, and why is on standard error.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

WRONG = 2
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_MEMORY = 2 << 30  # bytes beside what the process has when it begins
_COPIES = 6  # of a graph, in memory while it is opened


class _RefusedError(Exception):
    """Error that says what is wrong with a graph."""


def main() -> int:
    """Try out the graphs that standard input describes."""
    import onnx  # noqa: F401  # loaded before memory is limited
    import onnxruntime  # noqa: F401

    content = json.load(sys.stdin)
    _limit([Path(graph["path"]) for graph in content["graphs"]], content["seconds"])
    for job in content["graphs"]:
        print(job["path"], flush=True)
        try:
            _try(job)
        except _RefusedError as error:
            print(error, file=sys.stderr)
            return WRONG
        except Exception as error:  # what onnxruntime and protobuf raise has no common base
            print(f"{type(error).__name__}: {error}"[:300], file=sys.stderr)
            return WRONG
    return 0


def _limit(paths: list[Path], seconds: float) -> None:
    largest = max((path.stat().st_size for path in paths), default=0)
    most = _COPIES * largest + _MEMORY
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # no Linux: there is nothing to count from
        pages = 0
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    limits[resource.RLIMIT_CPU] = math.ceil(seconds)
    if pages:
        limits[resource.RLIMIT_AS] = pages * os.sysconf("SC_PAGE_SIZE") + most
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))


def _try(job: Mapping[str, Any]) -> None:
    """Look at a graph, then open and run it on small inputs."""
    import numpy as np
    import onnx

    from pareto_rec.bundle.session import session

    content = Path(job["path"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != job["sha256"]:
        raise _RefusedError("it is altered: its SHA-256 is another")
    model = onnx.load_model_from_string(content)
    _look_at(model)
    for kind, wanted, actual in (
        ("inputs", job["inputs"], {value.name for value in model.graph.input}),
        ("outputs", job["outputs"], {value.name for value in model.graph.output}),
    ):
        if actual != set(wanted):
            raise _RefusedError(f"its {kind} are {sorted(actual)} instead of {sorted(wanted)}")
    del model
    opened = session(content)
    given = {
        name: np.arange(math.prod(shape), dtype=np.int64).reshape(shape) % job["below"]
        for name, shape in job["inputs"].items()
    }
    if "attention_mask" in given:
        given["attention_mask"][:] = 1
    values = opened.run(list(job["outputs"]), given)
    for (name, shape), value in zip(job["outputs"].items(), values, strict=True):
        if list(value.shape) != shape or value.dtype != np.float32:
            raise _RefusedError(f"{name} is {list(value.shape)} {value.dtype} instead of {shape}")
        if not np.isfinite(value).all():
            raise _RefusedError(f"{name} is not finite")


def _look_at(model: Any) -> None:  # onnx ships no types for its messages
    """Refuse what no graph of a bundle has: other files, loops, branches, unknown operators."""
    own = {function.domain for function in model.functions}
    functions = [node for function in model.functions for node in function.node]
    for node in [*model.graph.node, *functions]:
        if node.domain not in _DOMAINS and node.domain not in own:
            raise _RefusedError(f"it has an operator of {ascii(node.domain)[:60]}")
        if node.op_type == "EPContext":
            raise _RefusedError("it has an operator that reads other files")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise _RefusedError(f"it has a graph inside a graph ({ascii(node.op_type)[:40]})")
    for tensor in _tensors_of(model, functions):
        if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
            raise _RefusedError("it keeps tensors in other files")


def _tensors_of(model: Any, functions: list[Any]) -> Iterator[Any]:
    yield from model.graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in [*model.graph.node, *functions]:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


if __name__ == "__main__":
    sys.exit(main())
