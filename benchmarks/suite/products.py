"""Matrix products of a computation, recorded while it runs and then timed alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Size = tuple[torch.dtype, int, int, int, int]  # numbers, products, rows, inner, columns

_PLAIN = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}  # operation -> place of the left factor


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts every matrix product inside its block, those of backward passes included.

    Attributes:
        sizes: Products by their sizes.
        fused: Those inside fused attention, which torch's own counter does not know on a CPU.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: Counter[Size] = Counter()
        self.fused: Counter[Size] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation as it is, and note it if it is a product."""
        name = func.overloadpacket.__name__
        if name in _PLAIN:
            left, right = args[_PLAIN[name] : _PLAIN[name] + 2]
            self._add(self.sizes, left.dtype, left.shape, right.shape[-1], 1)
        elif "scaled_dot_product" in name:
            backward = name.endswith("backward")
            query, key = args[1:3] if backward else args[:2]
            many, places = query.shape[:-2].numel(), key.shape[-2]
            across = (many, query.shape[-2], query.shape[-1])
            back = (many, query.shape[-2], places)
            # logits (again), and towards the weights; values, or towards query, key and value
            self._add(self.fused, query.dtype, across, places, 2 if backward else 1)
            self._add(self.fused, query.dtype, back, query.shape[-1], 3 if backward else 1)
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _add(sizes: Counter[Size], kind: torch.dtype, left: Any, columns: int, times: int) -> None:
        many = left[0] if len(left) == 3 else 1
        sizes[(kind, int(many), int(left[-2]), int(left[-1]), int(columns))] += times

    @property
    def flops(self) -> int:
        """Multiplications and additions of all of them but those inside fused attention."""
        return sum(2 * count * b * m * k * n for (_, b, m, k, n), count in self.sizes.items())

    def alone(self, rounds: int = 3) -> float:
        """Return seconds that the products take by themselves, on dense random factors."""
        everything = self.sizes + self.fused
        return sum(count * _seconds(size, rounds) for size, count in everything.items())


def recorded(call: Callable[[], object]) -> Products:
    """Return the matrix products of a call."""
    products = Products()
    with products:
        call()
    return products


@torch.no_grad()
def _seconds(size: Size, rounds: int) -> float:
    kind, many, rows, inner, columns = size
    left = torch.rand(many, rows, inner, dtype=kind)
    right = torch.rand(many, inner, columns, dtype=kind)
    target = torch.empty(many, rows, columns, dtype=kind)
    torch.bmm(left, right, out=target)
    repeats = min(20, max(1, int(2e8 / max(1, 2 * target.numel() * inner))))
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(repeats):
            _product(left, right, target)
        best = min(best, (time.process_time() - began) / repeats)
    return best


def _product(left: Tensor, right: Tensor, target: Tensor) -> None:
    torch.bmm(left, right, out=target)
