"""Compilation of kernels by numba, with a checked cache."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba
import torch
from torch import Tensor

from pareto_rec.kernels.compile_cache import CheckedFiles

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# sums may be taken in any order, in lanes; numbers that are not finite keep their meaning
MATHEMATICS = {"reassoc", "contract", "nsz", "arcp"}


def compiled(kernel: Kernel) -> Kernel:
    """Compile at the first call, for the types of its arguments, and store that on disk.

    A kernel's callees must lie in its own file: numba checks no other file to see whether a stored
    kernel is out of date. If the cache cannot be written, or the disk is full, every process
    compiles for itself; a damaged file is compiled again.
    """
    return _compiled(kernel, MATHEMATICS)


def compiled_exactly(kernel: Kernel) -> Kernel:
    """Compile likewise, with every operation rounded as it is written."""
    return _compiled(kernel, set())


def _compiled(kernel: Kernel, mathematics: set[str]) -> Kernel:
    try:
        dispatcher = numba.njit(kernel, cache=True, fastmath=mathematics)
    except RuntimeError:  # no folder that can be written
        return cast(Kernel, numba.njit(kernel, fastmath=mathematics))
    _use_checked_files(dispatcher._cache)  # numba has no option for it
    return cast(Kernel, dispatcher)


def _use_checked_files(cache: Any) -> None:  # Any: numba has no types
    """Make a kernel survive a damaged cache file and a full disk."""
    impl = cache._impl
    stamp = impl.locator.get_source_stamp()
    cache._cache_file = CheckedFiles(cache.cache_path, impl.filename_base, stamp)
    save, load = cache.save_overload, cache.load_overload

    def save_if_possible(*compiled: object) -> None:
        with suppress(OSError):
            save(*compiled)

    def load_if_complete(types: object, target: Any) -> Any:
        try:
            return load(types, target)
        except Exception:  # numba has no common error for unreadable files
            cache._cache_file.drop(cache._index_key(types, target.codegen()))
            return None

    cache.save_overload, cache.load_overload = save_if_possible, load_if_complete


def is_cpu_float32(*tensors: Tensor) -> bool:
    """Return whether all tensors are float32 on the CPU, as kernels need them."""
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
