"""Numbers in which products with all item vectors are computed."""

from __future__ import annotations

import torch

PRODUCTS = ("float32", "bfloat16", "auto")


def products_of(name: str, device: torch.device) -> torch.dtype | None:
    """What a name of `PRODUCTS` stands for on a device; None for float32.

    ``"auto"`` is bfloat16 on processors that multiply matrices of it (AMX); elsewhere it would
    have to be emulated.
    """
    if name == "auto":
        # older versions of torch do not tell; on a GPU nobody has measured it
        known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = device.type == "cpu" and bool(known.get("amx_bf16"))
        return torch.bfloat16 if fast else None
    return torch.bfloat16 if name == "bfloat16" else None
