"""ONNX graphs of a bundle: text encoding, experts, heads; in float32 and with int8 weights.

Graphs and their inputs and outputs:

- ``encoder.onnx``: ``input_ids``, ``attention_mask [texts, tokens]`` -> ``features [texts, F]``
- ``expert_<name>.onnx``: ``items [people, rows]``, histories oldest first, right-aligned, -1 where
  there is none -> ``scores [people, N]``
- ``head_<fit>.onnx``: ``items [people, L]``, the last L of each history -> ``relevance``, and of
  every task ``liked``, ``rating`` or ``task_<name>``, logits ``[people, N]``

Fusion and re-ranking are no part of the graphs: they are the serving policy's.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pareto_rec.bundle import files
from pareto_rec.bundle.data import BundleData
from pareto_rec.bundle.graphs import Encoding, ExpertScores, Scores, graph_name
from pareto_rec.bundle.session import session
from pareto_rec.bundle.texts import Texts
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.models.base import Shape
from pareto_rec.models.head import ScoringHead

MAX_ITEMS = 20_000  # the graph of the experts holds matrices of items x items
_OPSET = 18
_SAMPLE = 3
_EXPERT = "expert_"


def check_onnx() -> None:
    """Refuse to begin where the packages are not installed.

    Raises:
        BadRequestError: Names the extra to install.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BadRequestError(
            f"{error.name} is not installed; ONNX forms need it: pip install 'pareto_rec[onnx]'"
        ) from None


def export_graphs(
    folder: Path, parts: BundleData, heads: Mapping[str, ScoringHead], *, onnx: bool, int8: bool
) -> None:
    """Write the graphs of a bundle, and check each against what it was made from.

    Args:
        folder: The bundle; graphs go to its ``onnx``.
        parts: What the bundle holds.
        heads: Heads by fit id.
        onnx: Whether graphs in float32 are wanted.
        int8: Whether graphs with int8 weights are.

    Raises:
        BadRequestError: If the catalogue is too large for the graph of the experts.
        RunFailedError: If a graph does not give what it was made from.
    """
    if len(parts.items) > MAX_ITEMS and parts.experts:
        raise BadRequestError(
            f"the ONNX graph of the experts stops at {MAX_ITEMS} items; these are "
            f"{len(parts.items)}: export without --onnx and --int8"
        )
    target = folder / files.ONNX
    target.mkdir(exist_ok=True)
    texts = Texts(parts)
    if texts.reads:
        _export_encoder(target, parts, texts)
    given = {"items": _sample_histories(parts, 7)}
    for name, expert in parts.experts.items():
        for variant in (False, True) if int8 else (False,):
            path = target / f"{_EXPERT}{name}{'.int8' * variant}.onnx"
            _export(ExpertScores(expert, int8=variant), given, ["scores"], path)
    _export_heads(target, parts, heads)
    if int8:
        for path in sorted(target.glob("*.onnx")):
            if not path.name.startswith(_EXPERT):
                _quantise(path)
    if not onnx:
        for path in sorted(set(target.glob("*.onnx")) - set(target.glob("*.int8.onnx"))):
            path.unlink()


def _export_heads(folder: Path, parts: BundleData, heads: Mapping[str, ScoringHead]) -> None:
    """Write one graph per fit; heads of one shape share it, and only its numbers are replaced."""
    import onnx

    templates: dict[tuple[Shape, int], Path] = {}
    for fit_id, head in heads.items():
        path = folder / f"head_{fit_id}.onnx"
        model, length = Scores(head), head.shape.history
        given = {"items": _sample_histories(parts, length)}
        known = templates.get((head.shape, length))
        if known is None:
            named = [graph_name(task) for task in model.tasks]
            _export(model, given, named, path, length=False)
            _check_head(head, given["items"], path)
            templates[head.shape, length] = path
            continue
        graph = onnx.load(known)
        values = dict(model.named_buffers())
        for tensor in graph.graph.initializer:
            if tensor.name in values:
                array = values.pop(tensor.name).numpy()
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        if values:
            raise RunFailedError(f"{known.name} has no {', '.join(values)}: export without --onnx")
        onnx.save(graph, path)
        _check_head(head, given["items"], path)


def _check_head(head: ScoringHead, items: Tensor, path: Path) -> None:
    """Compare a graph with the head that serves."""
    with torch.inference_mode():
        tasks = head.shape.towers
        wanted = list(head.logits(tasks, head.states(items.numpy())).values())
    _alike(path, [graph_name(task) for task in tasks], wanted, {"items": items})


def _sample_histories(parts: BundleData, length: int) -> Tensor:
    """Return a few histories with gaps at their beginning, as example input."""
    rng = np.random.default_rng(0)
    items = rng.integers(0, len(parts.items), (_SAMPLE, length))
    items[0, : length // 2] = -1
    return torch.from_numpy(items)


def _export_encoder(folder: Path, parts: BundleData, texts: Texts) -> None:
    read = texts.backbone.tokenizer(
        list(parts.items.texts[:_SAMPLE]), truncation=True, max_length=texts.max_length
    )["input_ids"]
    longest = max(map(len, read))
    ids = torch.zeros(len(read), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(read):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = torch.tensor(tokens), 1
    model = Encoding(texts.encoder)
    inputs = {"input_ids": ids, "attention_mask": mask}
    _export(model, inputs, ["features"], folder / "encoder.onnx", fold=True)


def _export(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: Path,
    *,
    length: bool = True,
    fold: bool = False,
) -> None:
    """Write one graph and compare its outputs with the model's.

    Args:
        model: What becomes a graph.
        inputs: Example inputs by name.
        outputs: Names of the outputs.
        path: Where to write.
        length: Whether the second dimension of inputs is free, as the first is.
        fold: Whether constants are folded; then numbers can no longer be replaced by name.
    """
    free: dict[int, Any] = {0: torch.export.Dim("batch")}
    if length:
        free[1] = torch.export.Dim("length")
    model.eval()
    with _quietly(), torch.no_grad():
        torch.onnx.export(
            model,
            tuple(inputs.values()),
            path,
            dynamo=True,
            dynamic_shapes=tuple(free for _ in inputs),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=_OPSET,
            external_data=False,
            optimize=fold,
            verbose=False,
        )
    with torch.no_grad():
        wanted = model(*inputs.values())
    _alike(path, outputs, wanted if isinstance(wanted, tuple) else (wanted,), inputs)


def _alike(
    path: Path, outputs: Sequence[str], wanted: Sequence[Tensor], inputs: Mapping[str, Tensor]
) -> None:
    """Refuse a graph that does not give what it was made from.

    Raises:
        RunFailedError: Names the output and how far off it is.
    """
    given = {name: value.numpy() for name, value in inputs.items()}
    results = session(path.read_bytes()).run(list(outputs), given)
    for name, expected, actual in zip(outputs, wanted, results, strict=True):
        if not np.allclose(expected.numpy(), actual, rtol=1e-3, atol=1e-3):
            worst = float(np.abs(expected.numpy() - actual).max())
            raise RunFailedError(f"{path.name}: {name} is off by {worst:.3g} from PyTorch")


def _quantise(path: Path) -> None:
    """Quantise matrix weights to int8 per column, and activations on the fly.

    Small weights that carry the leading dimension of a pack stay as they are: onnxruntime has no
    product of theirs per column.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(path).graph
    flat = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}
    nodes = [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in flat]
    with _quietly():
        quantize_dynamic(
            path,
            path.with_name(f"{path.stem}.int8.onnx"),
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=nodes,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporter's remarks."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
