"""Sessions of onnxruntime."""

from __future__ import annotations

from typing import Any


def session(graph: bytes) -> Any:  # onnxruntime ships no types
    """Return an inference session of one thread on the CPU.

    Args:
        graph: Content of a file; nothing beside it is read.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
