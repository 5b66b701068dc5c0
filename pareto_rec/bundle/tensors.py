"""Tensors of a safetensors file, checked before anything is computed with them.

Checksums say that a file is as it was sealed, not its author. What compiled loops read without
looking at bounds (indices, pointers) and what would spoil every score (NaN, infinities) is refused
here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pareto_rec.bundle.files import opened
from pareto_rec.core.errors import BadRequestError

Array = NDArray[Any]
Shape = tuple[int | None, ...]

LARGEST = 1e9
"""Largest size of a learnt number: products of a few of them stay finite in float32."""


class TensorFile:
    """A file whose tensors are read one by one and checked; see :meth:`finish`."""

    def __init__(self, path: Path, shown: Path) -> None:
        """Open a file.

        Args:
            path: The file.
            shown: What errors call it.

        Raises:
            BadRequestError: If it is not a safetensors file.
        """
        self.shown, self._stored = shown, opened(path, shown)
        self.names: list[str] = sorted(self._stored.keys())
        self._unread = set(self.names)

    def error(self, name: str, reason: str) -> BadRequestError:
        """Return the error for a tensor."""
        return BadRequestError(f'{self.shown}: tensor "{ascii(name)[1:-1][:80]}" {reason}; {_ANEW}')

    def read(self, name: str, kinds: tuple[str, ...], shape: Shape) -> Array:
        """Return a tensor of given types (``"F32"``, ``"I64"``, ...) and shape; None: any length.

        Raises:
            BadRequestError: If there is none, or it is of another type or shape.
        """
        if name not in self.names:
            raise self.error(name, "is missing")
        part = self._stored.get_slice(name)
        kind, actual = str(part.get_dtype()), tuple(part.get_shape())
        if kind not in kinds:
            raise self.error(name, f"is of type {kind} instead of {' or '.join(kinds)}")
        same = [want is None or want == have for want, have in zip(shape, actual, strict=False)]
        if len(shape) != len(actual) or not all(same):
            wanted = ["any" if size is None else str(size) for size in shape]
            raise self.error(name, f"has shape {list(actual)} instead of [{', '.join(wanted)}]")
        self._unread.discard(name)
        array: Array = self._stored.get_tensor(name).numpy()
        return array

    def floats(
        self,
        name: str,
        shape: Shape,
        low: float = -LARGEST,
        high: float = LARGEST,
        *,
        missing: bool = False,
    ) -> NDArray[np.float32]:
        """Return a tensor of float32 from `low` to `high`, or NaN where `missing` is allowed.

        Raises:
            BadRequestError: As :meth:`read`, or if a number is not finite or out of range.
        """
        array = self.read(name, ("F32",), shape)
        self._check_range(name, array, low, high, missing=missing)
        return array

    def integers(
        self, name: str, shape: Shape, low: int, high: int, kinds: tuple[str, ...] = ("I64",)
    ) -> Array:
        """Return a tensor of whole numbers from `low` to `high`.

        Raises:
            BadRequestError: As :meth:`read`, or if a number is out of range.
        """
        array = self.read(name, kinds, shape)
        self._check_range(name, array, low, high, missing=False)
        return array

    def _check_range(
        self, name: str, array: Array, low: float, high: float, *, missing: bool
    ) -> None:
        if not array.size:
            return
        smallest, largest = (np.fmin, np.fmax) if missing else (np.minimum, np.maximum)
        ends = smallest.reduce(array, axis=None), largest.reduce(array, axis=None)
        if missing and np.isnan(ends[0]):  # all are
            return
        if not (low <= ends[0] and ends[1] <= high):  # false for NaN as well
            shown = ends[0] if not low <= ends[0] else ends[1]
            raise self.error(name, f"holds {shown}, which is not within {low:g} and {high:g}")

    def finish(self) -> None:
        """Refuse tensors that nothing has read.

        Raises:
            BadRequestError: Names one.
        """
        if self._unread:
            raise self.error(min(self._unread), "is not one that a bundle holds")


_ANEW = "export the bundle again"


def sparse_square(file: TensorFile, name: str, size: int) -> sparse.csr_array:
    """Return a sparse matrix ``[size, size]`` in the form of compressed rows, fully checked.

    Raises:
        BadRequestError: If pointers do not start at 0, fall or do not end with the entries, an
            index is out of range or comes twice in a row, or a number is not finite.
    """
    data = file.floats(f"{name}.data", (None,))
    kinds = ("I32", "I64")
    indices = file.integers(f"{name}.indices", (len(data),), 0, size - 1, kinds)
    pointers = file.integers(f"{name}.indptr", (size + 1,), 0, len(data), kinds)
    if indices.dtype != pointers.dtype:
        raise file.error(f"{name}.indptr", "and the indices are of different types")
    if pointers[0] != 0 or pointers[-1] != len(data) or (pointers[1:] < pointers[:-1]).any():
        raise file.error(f"{name}.indptr", f"does not rise from 0 to {len(data)}")
    matrix = sparse.csr_array((data, indices, pointers), shape=(size, size))
    matrix.check_format(full_check=True)
    if not matrix.has_canonical_format and _repeats(matrix):
        raise file.error(f"{name}.indices", "names an item twice in a row")
    return matrix


def _repeats(matrix: sparse.csr_array) -> bool:
    """Return whether a row of a matrix of unsorted indices names a column twice."""
    ordered = matrix.copy()
    ordered.sort_indices()
    same = ordered.indices[1:] == ordered.indices[:-1]
    starts = ordered.indptr[1:-1]
    same[starts[(starts > 0) & (starts < matrix.nnz)] - 1] = False  # neighbours of different rows
    return bool(same.any())
