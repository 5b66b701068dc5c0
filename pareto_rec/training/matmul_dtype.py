"""Dtype of the item-table matmuls."""

from __future__ import annotations

import torch

MATMUL_DTYPES = ("float32", "bfloat16", "auto")


def matmul_dtype_of(name: str, device: torch.device) -> torch.dtype | None:
    """Translate a name of `MATMUL_DTYPES` for a device; None for float32.

    ``"auto"`` is bfloat16 on processors that multiply matrices of it (AMX); elsewhere it would
    have to be emulated.
    """
    if name == "auto":
        # older versions of torch do not tell; on a GPU it has not been measured
        known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = device.type == "cpu" and bool(known.get("amx_bf16"))
        return torch.bfloat16 if fast else None
    return torch.bfloat16 if name == "bfloat16" else None
