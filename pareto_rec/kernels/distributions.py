"""Rows of logits as distributions over the catalogue: what they are like, and what pulls on them.

Logits are ``[P, R, N]``, contiguous, in float32 or bfloat16, which numba does not know: kernels see
their bits, as unsigned integers that are the upper part of a float32's (all of them, or 16).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.kernels.compiled import compiled

CHUNK_ELEMENTS = 320_000  # probabilities at once: they stay in a processor core's own cache

Floats = NDArray[np.float32]
Bits = NDArray[np.unsignedinteger[Any]]


class Rows(NamedTuple):
    """What the distribution p of each row is like.

    Attributes:
        normaliser: ``log sum_i exp(logit_i)``, ``[P, R]``.
        cross_entropy: Mean over the row's targets of ``-log p``, ``[P, R]``.
        negative_entropy: ``sum_i p_i log p_i``, ``[P, R]``.
        same: ``sum_i p_i^2 s_i`` with the squares s that are given, ``[P, R]``.
        means: ``sum_i p_i f_i`` of the facts f that are given, ``[P, R, C]``.
    """

    normaliser: Tensor
    cross_entropy: Tensor
    negative_entropy: Tensor
    same: Tensor
    means: Tensor


def describe(
    logits: Tensor, bias: Tensor, targets: Tensor, share: Tensor, facts: Tensor, squares: Tensor
) -> Rows:
    """What the distributions ``softmax(logits + bias)`` are like.

    Args:
        logits: ``[P, R, N]``; left as they are.
        bias: ``[P, N]``.
        targets: Items ``[P, R, H]``.
        share: What each of them counts for ``[P, R, H]``.
        facts: ``[N, C]``.
        squares: ``[N]``.
    """
    (pack, rows, n_items), kinds = logits.shape, facts.shape[1]
    found, inverse = bias.new_empty(4, pack * rows), bias.new_empty(pack * rows)
    means = bias.new_empty(pack * rows, kinds)
    masses = bias.new_empty(_chunk(n_items), n_items)
    bits, places, biases = _bits(logits), _places(logits), _array(bias)
    wanted, shares = _rows(targets), _rows(share)
    weights, spare = _array(squares), _array(masses)
    own, divided = _array(found), _array(inverse)
    for begin, end in _chunks(pack * rows, n_items):
        part = slice(begin, end)
        _describe(
            bits[part],
            places,
            biases,
            begin,
            rows,
            wanted[part],
            shares[part],
            weights,
            spare,
            own[:, part],
            divided[part],
        )
        torch.mm(masses[: end - begin], facts, out=means[part])
    means.mul_(inverse.unsqueeze(1))
    normaliser, entropy_of_targets, negative_entropy, same = found.view(4, pack, rows)
    return Rows(
        normaliser, entropy_of_targets, negative_entropy, same, means.view(pack, rows, kinds)
    )


def pull(
    logits: Tensor,
    bias: Tensor,
    normaliser: Tensor,
    targets: Tensor,
    share: Tensor,
    slopes: tuple[Tensor, Tensor],
    terms: Tensor,
    squares: Tensor,
) -> tuple[Tensor, Tensor]:
    """What pulls on the logits ``[P, R, N]``, in their numbers, and on the bias ``[P, N]``.

    ``p_i (w . f_i - level + entropy log p_i - doubled p_i s_i) - accuracy q_i``, with q a row's
    targets and what each counts for.

    Args:
        logits: As in `describe`.
        bias: As in `describe`.
        normaliser: As `describe` has it.
        targets: As in `describe`.
        share: As in `describe`.
        slopes: w ``[P, R, C]`` and f ``[N, C]``.
        terms: level, entropy, doubled and accuracy of each row ``[P, R, 4]``.
        squares: s ``[N]``.
    """
    (pack, rows, n_items), (weights, facts) = logits.shape, slopes
    found, of_bias = torch.empty_like(logits), bias.new_zeros(bias.shape)
    weights = weights.reshape(pack * rows, -1)
    linear = bias.new_empty(_chunk(n_items), n_items)
    bits, places, biases, pulls = _bits(logits), _places(logits), _array(bias), _bits(found)
    levels, wanted, shares = _array(normaliser.reshape(-1)), _rows(targets), _rows(share)
    of_rows, of_items, spare, sums = _rows(terms), _array(squares), _array(linear), _array(of_bias)
    for begin, end in _chunks(pack * rows, n_items):
        part = slice(begin, end)
        torch.mm(weights[part], facts.T, out=linear[: end - begin])
        _pull(
            bits[part],
            places,
            biases,
            begin,
            rows,
            levels[part],
            wanted[part],
            shares[part],
            spare,
            of_rows[part],
            of_items,
            pulls[part],
            sums,
        )
    return found, of_bias


def cross_entropy(
    logits: Tensor, bias: Tensor, targets: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Make ``m (p - q)`` of logits, with m the row's mass below its highest logit.

    Args:
        logits: As in `describe`, but changed.
        bias: As in `describe`.
        targets: As in `describe`.
        share: As in `describe`.

    Returns:
        Cross-entropy and m, ``[P, R]`` each.
    """
    pack, rows, _ = logits.shape
    found = bias.new_empty(2, pack * rows)
    _cross_entropy(
        _bits(logits),
        _places(logits),
        _array(bias),
        rows,
        _rows(targets),
        _rows(share),
        _array(found),
    )
    values, masses = found.view(2, pack, rows)
    return values, masses


def _bits(logits: Tensor) -> Bits:
    """``[P * R, N]``, the same memory."""
    kind = torch.uint16 if logits.dtype == torch.bfloat16 else torch.uint32
    bits: Bits = logits.view(kind).view(-1, logits.shape[2]).numpy()
    return bits


def _places(logits: Tensor) -> int:
    """By how many places bits are shifted to be those of a float32."""
    return 32 - 8 * logits.itemsize


def _array(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().contiguous().numpy()
    return array


def _rows(values: Tensor) -> NDArray[Any]:
    """``[P * R, ...]``."""
    return _array(values.reshape(-1, values.shape[-1]))


def _chunk(n_items: int) -> int:
    return max(1, CHUNK_ELEMENTS // n_items)


def _chunks(rows: int, n_items: int) -> list[tuple[int, int]]:
    step = _chunk(n_items)
    return [(begin, min(begin + step, rows)) for begin in range(0, rows, step)]


@compiled
def _read(bits: Bits, shift: int, bias: Floats, row: Floats) -> None:
    """A row of logits with their biases."""
    wide = row.view(np.uint32)
    for i in range(len(row)):
        wide[i] = np.uint32(bits[i]) << np.uint32(shift)
    for i in range(len(row)):
        row[i] += bias[i]


@compiled
def _write(row: Floats, shift: int, bits: Bits) -> None:
    """A row in the numbers of logits, rounded to the nearest, halves to even."""
    wide = row.view(np.uint32)
    if shift == 0:
        for i in range(len(row)):
            bits[i] = wide[i]
    else:
        for i in range(len(row)):
            half = np.uint32(0x7FFF) + ((wide[i] >> np.uint32(16)) & np.uint32(1))
            bits[i] = np.uint32(wide[i] + half) >> np.uint32(16)


@compiled
def _highest(row: Floats, spare: NDArray[np.int32]) -> np.float32:
    """Largest number of a row, by its bits: comparing floats would not be done in lanes."""
    bits = row.view(np.int32)
    highest = np.int32(-(2**31))
    for i in range(len(bits)):
        highest = max(highest, bits[i] ^ ((bits[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    spare[0] = highest ^ ((highest >> np.int32(31)) & np.int32(0x7FFFFFFF))
    highest_float: np.float32 = spare.view(np.float32)[0]
    return highest_float


@compiled
def _exponentials(row: Floats, found: Floats, spare: NDArray[np.int32]) -> None:
    """``exp`` of numbers up to about 80, to the last digit but one; below -87 it is that of -87.

    ``2^n e^r`` with ``|r| <= log(2) / 2`` and a polynomial for ``e^r``, as Cephes has it (Moshier,
    Methods and programs for mathematical functions, 1989: expf).
    """
    for i in range(len(row)):
        x = np.float32(-87.0) if row[i] < np.float32(-87.0) else row[i]
        n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
        r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
        y = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
        y = y * r + np.float32(8.3334519073e-3)
        y = y * r + np.float32(4.1665795894e-2)
        y = y * r + np.float32(1.6666665459e-1)
        y = y * r + np.float32(5.0000001201e-1)
        found[i] = y * r * r + r + np.float32(1.0)
        spare[i] = (np.int32(n) + np.int32(127)) << np.int32(23)
    powers = spare.view(np.float32)
    for i in range(len(row)):
        found[i] *= powers[i]


@compiled
def _masses(
    bits: Bits, shift: int, bias: Floats, row: Floats, mass: Floats, spare: NDArray[np.int32]
) -> np.float32:
    """Logits below the highest of a row, which is returned, and their exponentials."""
    _read(bits, shift, bias, row)
    highest = _highest(row, spare)
    for i in range(len(row)):
        row[i] -= highest
    _exponentials(row, mass, spare)
    return highest


@compiled
def _shared(row: Floats, targets: NDArray[np.int64], share: Floats) -> np.float32:
    """What a row has at its targets, each counted for its share."""
    total = np.float32(0)
    for h in range(len(targets)):
        total += share[h] * row[targets[h]]
    return total


@compiled
def _describe(
    logits: Bits,
    shift: int,
    bias: Floats,
    first: int,
    rows: int,
    targets: NDArray[np.int64],
    share: Floats,
    squares: Floats,
    masses: Floats,
    found: Floats,
    inverse: Floats,
) -> None:
    n_items = logits.shape[1]
    row, spare = np.empty(n_items, np.float32), np.empty(n_items, np.int32)
    for r in range(len(logits)):
        mass = masses[r]
        highest = _masses(logits[r], shift, bias[(first + r) // rows], row, mass, spare)
        total, weighted, same = np.float32(0), np.float32(0), np.float32(0)
        for i in range(n_items):
            total += mass[i]
            weighted += mass[i] * row[i]
            same += mass[i] * mass[i] * squares[i]
        wanted = _shared(row, targets[r], share[r])
        level = np.log(total)
        inverse[r] = np.float32(1) / total
        found[0, r] = highest + level
        found[1, r] = level - wanted
        found[2, r] = weighted / total - level
        found[3, r] = same / (total * total)


@compiled
def _pull(
    logits: Bits,
    shift: int,
    bias: Floats,
    first: int,
    rows: int,
    normaliser: Floats,
    targets: NDArray[np.int64],
    share: Floats,
    linear: Floats,
    terms: Floats,
    squares: Floats,
    found: Bits,
    of_bias: Floats,
) -> None:
    n_items = logits.shape[1]
    row, probs = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    spare = np.empty(n_items, np.int32)
    for r in range(len(logits)):
        _read(logits[r], shift, bias[(first + r) // rows], row)
        for i in range(n_items):
            row[i] -= normaliser[r]
        _exponentials(row, probs, spare)
        level, entropy, doubled, accuracy = terms[r]
        for i in range(n_items):
            slope = linear[r, i] - level + entropy * row[i] - doubled * probs[i] * squares[i]
            row[i] = probs[i] * slope
        for h in range(targets.shape[1]):
            row[targets[r, h]] -= accuracy * share[r, h]
        own = of_bias[(first + r) // rows]
        for i in range(n_items):
            own[i] += row[i]
        _write(row, shift, found[r])


@compiled
def _cross_entropy(
    logits: Bits,
    shift: int,
    bias: Floats,
    rows: int,
    targets: NDArray[np.int64],
    share: Floats,
    found: Floats,
) -> None:
    n_items = logits.shape[1]
    row, mass = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    spare = np.empty(n_items, np.int32)
    for r in range(len(logits)):
        _masses(logits[r], shift, bias[r // rows], row, mass, spare)
        total = np.float32(0)
        for i in range(n_items):
            total += mass[i]
        wanted = _shared(row, targets[r], share[r])
        for h in range(targets.shape[1]):
            mass[targets[r, h]] -= total * share[r, h]
        found[0, r] = np.log(total) - wanted
        found[1, r] = total
        _write(mass, shift, logits[r])
