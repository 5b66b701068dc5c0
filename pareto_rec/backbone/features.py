"""Vectors of texts on disk: what identifies them, how they are stored and how texts are batched."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.code_keys import code_key
from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.paths import written_whole
from pareto_rec.core.sealed import read_array, seal

DECIDING = ("pareto_rec.backbone.cached", "pareto_rec.training.tuned.tokens")  # what states are
StateArray = NDArray[np.floating[Any]]
RowArray = NDArray[np.int64]
TOKENISED = 4096  # texts at a time: a tokenizer's output takes some hundred times its ids


@dataclass(frozen=True)
class Features:
    """One vector per text.

    Attributes:
        states: ``[texts, width]``, float32 or float16, mapped read-only from disk.
        key: What the vectors were computed from and how; equal keys mean equal vectors.
        cached: Whether they were found on disk.
    """

    states: StateArray
    key: str
    cached: bool


@dataclass(frozen=True)
class Recipe:
    """Inputs that determine the vectors.

    Attributes:
        weights: Hash of the weights.
        tokenizer: Hash of the tokenizer.
        texts: Hash of the texts in their order.
        max_length: Tokens per text at most.
        cut: Layers that are run.
        dtype: ``"float32"`` or ``"float16"``.
        shape: Texts and width.
        pooling: How the states of a text's tokens become one vector; ``"tokens"`` keeps one row per
            token.
        precision: Numbers that the encoder computes with.
    """

    weights: str
    tokenizer: str
    texts: str
    max_length: int
    cut: int
    dtype: str
    shape: tuple[int, int]
    pooling: str = "mean"
    precision: str = "float32"

    @property
    def key(self) -> str:
        """32 hexadecimal digits; the usual precision leaves no trace in it."""
        fields = dataclasses.asdict(self)
        if self.precision == "float32":
            del fields["precision"]
        return digest(json.dumps(fields, sort_keys=True))[:32]

    def path(self, folder: Path) -> Path:
        """Return the file of the vectors; a JSON file of the same stem says what they are.

        Computed by other code they lie in another file, under the same key.
        """
        return folder / f"{self.key}-{code_key(*DECIDING)}.npy"


def digest(*parts: str) -> str:
    """Compute the SHA-256 of texts; ``("ab", "c")`` and ``("a", "bc")`` differ."""
    sha256 = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        sha256.update(len(raw).to_bytes(8, "big"))
        sha256.update(raw)
    return sha256.hexdigest()


def find(folder: Path, recipe: Recipe) -> StateArray | None:
    """Map the vectors of a recipe read-only, or return None if no complete file exists."""
    return read_array(recipe.path(folder), recipe.shape, recipe.dtype)


def keep(
    folder: Path,
    recipe: Recipe,
    batches: Iterable[tuple[RowArray, NDArray[np.float32]]],
    note: Mapping[str, object],
) -> StateArray:
    """Run :func:`keep_all` for one recipe."""
    return keep_all(folder, [recipe], ((rows, [vectors]) for rows, vectors in batches), note)[0]


def keep_all(
    folder: Path,
    recipes: Sequence[Recipe],
    batches: Iterable[tuple[RowArray, Sequence[NDArray[np.float32]]]],
    note: Mapping[str, object],
) -> list[StateArray]:
    """Write vectors batch by batch and map them; a failure leaves no file behind.

    Args:
        folder: Where to keep them.
        recipes: What they are, one file each.
        batches: Row numbers and their vectors by recipe; together every row once.
        note: What else the JSON files beside them shall say.

    Returns:
        The vectors of each recipe.

    Raises:
        BadRequestError: If the folder cannot be written or the disk is full.
        RunFailedError: If a number is not finite (in the type in which it is kept).
    """
    with ExitStack() as stack:
        temporaries = [stack.enter_context(written_whole(each.path(folder))) for each in recipes]
        states = [
            _reserve(temporary, each) for temporary, each in zip(temporaries, recipes, strict=True)
        ]
        for rows, parts in batches:
            for file_states, recipe, vectors in zip(states, recipes, parts, strict=True):
                _write(file_states, recipe, rows, vectors)
        for file_states in states:
            file_states.flush()
        del states, file_states
        for temporary, recipe in zip(temporaries, recipes, strict=True):
            seal(temporary, recipe.path(folder).name)
    result = []
    for recipe in recipes:
        path = recipe.path(folder)
        with written_whole(path.with_suffix(".json")) as temporary:
            temporary.write_text(
                json.dumps({**dataclasses.asdict(recipe), **note}, indent=1) + "\n"
            )
        mapped = find(folder, recipe)
        if mapped is None:
            raise RunFailedError(f"{path} was written and cannot be read back; check the disk")
        result.append(mapped)
    return result


def _write(
    states: np.memmap[Any, Any], recipe: Recipe, rows: RowArray, vectors: NDArray[np.float32]
) -> None:
    with np.errstate(over="ignore"):  # shows as an infinity, which is refused
        states[rows] = vectors
    if not np.isfinite(states[rows]).all():
        raise RunFailedError(
            f"the encoder's states at cut {recipe.cut} overflow {recipe.dtype} or are not numbers; "
            "use float32, or another backbone"
        )


@dataclass(frozen=True)
class TokenIds:
    """Token ids of texts, end to end.

    Attributes:
        ids: ``[tokens]``, in the smallest type that holds them.
        starts: ``[texts + 1]``: ``ids[starts[t]:starts[t + 1]]`` are of text ``t``.
    """

    ids: NDArray[np.unsignedinteger[Any]]
    starts: RowArray

    @property
    def lengths(self) -> RowArray:
        """Tokens per text ``[texts]``."""
        return np.diff(self.starts)

    def batch(self, rows: RowArray) -> RowArray:
        """Return ids of texts of one length ``[rows, length]``."""
        positions = self.starts[rows][:, None] + np.arange(self.lengths[rows[0]])
        return self.ids[positions].astype(np.int64)


def token_ids(
    texts: Sequence[str], tokenise: Callable[[list[str]], Sequence[Sequence[int]]]
) -> TokenIds:
    """Tokenise texts, `TOKENISED` at a time, so that memory holds little more than their ids.

    Args:
        texts: Any number.
        tokenise: Texts -> ids of each, independent of the others.
    """
    lengths, parts = [np.zeros(1, dtype=np.int64)], [np.empty(0, dtype=np.uint16)]
    for begin in range(0, len(texts), TOKENISED):
        encoded = tokenise(list(texts[begin : begin + TOKENISED]))
        flat = np.fromiter((token for ids in encoded for token in ids), dtype=np.int64)
        narrow = flat.max(initial=0) <= np.iinfo(np.uint16).max
        parts.append(flat.astype(np.uint16 if narrow else np.uint32))
        lengths.append(np.array([len(ids) for ids in encoded], dtype=np.int64))
    return TokenIds(np.concatenate(parts), np.cumsum(np.concatenate(lengths)))


def equal_lengths(lengths: Sequence[int] | RowArray, batch_size: int) -> Iterator[RowArray]:
    """Yield row numbers in batches of texts of one length, longest first: no token of padding.

    The longest come first so that a shortage of memory shows at once and not at the end.
    """
    counted = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-counted, kind="stable")
    borders = np.flatnonzero(np.diff(counted[order])) + 1
    for group in np.split(order, borders):
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def _reserve(path: Path, recipe: Recipe) -> np.memmap[Any, Any]:
    """Create an NPY file at its full size: writing to a mapped hole on a full disk is a SIGBUS."""
    dtype = np.dtype(recipe.dtype)
    size = recipe.shape[0] * recipe.shape[1] * dtype.itemsize
    header = {"descr": dtype.str, "fortran_order": False, "shape": recipe.shape}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        offset = stream.tell()
        stream.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), offset, size)
        else:
            stream.truncate(offset + size)
    return np.memmap(path, dtype=dtype, mode="r+", offset=offset, shape=recipe.shape)
