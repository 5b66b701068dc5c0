"""Loops over rows of logits, called by :mod:`pareto_rec.kernels.row_statistics`.

Logits come as unsigned integers, since numba does not know bfloat16: 32 bits of a float32, or the
16 bits of a bfloat16, which are the upper half of a float32's. Loops over a row are kept simple, so
that each is vectorised; the row stays in a processor core's own cache between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.kernels.compiled import compiled

Floats = NDArray[np.float32]
Bits = NDArray[np.unsignedinteger[Any]]


@compiled
def _read(bits: Bits, shift: int, bias: Floats, row: Floats) -> None:
    """Read a row of logits, with their biases added."""
    wide = row.view(np.uint32)
    for i in range(len(row)):  # a bfloat16 becomes a float32 by 16 zero bits: exact
        wide[i] = np.uint32(bits[i]) << np.uint32(shift)
    for i in range(len(row)):
        row[i] += bias[i]


@compiled
def _write(row: Floats, shift: int, bits: Bits) -> None:
    """Write a row in the dtype of the logits, rounded to the nearest, halves to even."""
    wide = row.view(np.uint32)
    if shift == 0:
        for i in range(len(row)):
            bits[i] = wide[i]
    else:
        for i in range(len(row)):
            # just under half of the last kept bit, plus that bit: a tie carries only if it is odd
            half = np.uint32(0x7FFF) + ((wide[i] >> np.uint32(16)) & np.uint32(1))
            bits[i] = np.uint32(wide[i] + half) >> np.uint32(16)


@compiled
def _highest(row: Floats, buffer: NDArray[np.int32]) -> np.float32:
    """Find the largest number of a row by its bits: float comparisons are not vectorised."""
    bits = row.view(np.int32)
    highest = np.int32(-(2**31))
    # Of negative floats a larger pattern is a smaller number: flipping all bits but the sign's
    # makes integers of the floats' order, and the same operation restores them.
    for i in range(len(bits)):
        highest = max(highest, bits[i] ^ ((bits[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    buffer[0] = highest ^ ((highest >> np.int32(31)) & np.int32(0x7FFFFFFF))
    highest_float: np.float32 = buffer.view(np.float32)[0]
    return highest_float


@compiled
def _exponentials(row: Floats, exponentials: Floats, buffer: NDArray[np.int32]) -> None:
    """Compute ``exp`` of numbers up to about 80, to the last digit but one; at least that of -87.

    ``2^n e^r`` with ``|r| <= log(2) / 2`` and a polynomial for ``e^r``, as Cephes has it (Moshier,
    Methods and programs for mathematical functions, 1989: expf).
    """
    for i in range(len(row)):
        # below -87 the exponent n + 127 would reach 0, whose bits are not a power of two
        x = np.float32(-87.0) if row[i] < np.float32(-87.0) else row[i]
        n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
        # log(2) in two parts, the first of few bits: n times it is exact, so r loses no digits
        r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
        y = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
        y = y * r + np.float32(8.3334519073e-3)
        y = y * r + np.float32(4.1665795894e-2)
        y = y * r + np.float32(1.6666665459e-1)
        y = y * r + np.float32(5.0000001201e-1)
        exponentials[i] = y * r * r + r + np.float32(1.0)
        # a float32 of exponent field n + 127 and mantissa 0 is 2^n
        buffer[i] = (np.int32(n) + np.int32(127)) << np.int32(23)
    powers = buffer.view(np.float32)
    for i in range(len(row)):
        exponentials[i] *= powers[i]


@compiled
def _masses(
    bits: Bits, shift: int, bias: Floats, row: Floats, mass: Floats, buffer: NDArray[np.int32]
) -> np.float32:
    """Compute the logits less the highest of a row, which is returned, and their exponentials."""
    _read(bits, shift, bias, row)
    highest = _highest(row, buffer)  # subtracted, so that no exponential overflows
    for i in range(len(row)):
        row[i] -= highest
    _exponentials(row, mass, buffer)
    return highest


@compiled
def _shared(row: Floats, targets: NDArray[np.int64], share: Floats) -> np.float32:
    """Sum a row over its targets, each weighted by its share."""
    total = np.float32(0)
    for h in range(len(targets)):
        total += share[h] * row[targets[h]]
    return total


@compiled
def statistics_rows(
    logits: Bits,
    shift: int,
    bias: Floats,
    first: int,
    rows: int,
    targets: NDArray[np.int64],
    share: Floats,
    squares: Floats,
    masses: Floats,
    statistics: Floats,
    inverse: Floats,
) -> None:
    """Compute normaliser, cross-entropy, negative entropy and self-similarity of rows."""
    n_items = logits.shape[1]
    row, buffer = np.empty(n_items, np.float32), np.empty(n_items, np.int32)
    for r in range(len(logits)):
        mass = masses[r]
        highest = _masses(logits[r], shift, bias[(first + r) // rows], row, mass, buffer)
        total, weighted, same = np.float32(0), np.float32(0), np.float32(0)
        for i in range(n_items):
            total += mass[i]
            weighted += mass[i] * row[i]
            same += mass[i] * mass[i] * squares[i]
        # row is l - highest and mass its exponential: log p = row - level, and p = mass / total
        wanted = _shared(row, targets[r], share[r])
        level = np.log(total)
        inverse[r] = np.float32(1) / total
        statistics[0, r] = highest + level
        statistics[1, r] = level - wanted
        statistics[2, r] = weighted / total - level
        statistics[3, r] = same / (total * total)


@compiled
def gradient_rows(
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
    gradients: Bits,
    bias_gradient: Floats,
) -> None:
    """Compute the gradient of some rows of logits, and add its sum to that of the bias."""
    n_items = logits.shape[1]
    row, probs = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    buffer = np.empty(n_items, np.int32)
    for r in range(len(logits)):
        _read(logits[r], shift, bias[(first + r) // rows], row)
        for i in range(n_items):
            row[i] -= normaliser[r]  # log p: probabilities are computed again, not stored
        _exponentials(row, probs, buffer)
        level, entropy, doubled, accuracy = terms[r]
        for i in range(n_items):
            slope = linear[r, i] - level + entropy * row[i] - doubled * probs[i] * squares[i]
            row[i] = probs[i] * slope
        for h in range(targets.shape[1]):  # in turn: padding repeats an item, with a share of 0
            row[targets[r, h]] -= accuracy * share[r, h]
        own = bias_gradient[(first + r) // rows]
        for i in range(n_items):
            own[i] += row[i]
        _write(row, shift, gradients[r])


@compiled
def cross_entropy_rows(
    logits: Bits,
    shift: int,
    bias: Floats,
    rows: int,
    targets: NDArray[np.int64],
    share: Floats,
    statistics: Floats,
) -> None:
    """Compute ``m (p - q)`` of rows in place; cross-entropy and m."""
    n_items = logits.shape[1]
    row, mass = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    buffer = np.empty(n_items, np.int32)
    for r in range(len(logits)):
        _masses(logits[r], shift, bias[r // rows], row, mass, buffer)
        total = np.float32(0)
        for i in range(n_items):
            total += mass[i]
        wanted = _shared(row, targets[r], share[r])
        # m p is the mass itself: leaving the division by m to the caller saves a pass over the row
        for h in range(targets.shape[1]):
            mass[targets[r, h]] -= total * share[r, h]
        statistics[0, r] = np.log(total) - wanted
        statistics[1, r] = total
        _write(mass, shift, logits[r])
