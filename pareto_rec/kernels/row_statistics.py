"""Per-row statistics of ``softmax(logits + bias)`` and their gradient with respect to the logits.

Logits are ``[P, R, N]``, contiguous, in float32 or bfloat16.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.kernels.logit_rows import Bits, cross_entropy_rows, gradient_rows, statistics_rows

CHUNK_ELEMENTS = 320_000  # probabilities at once: they stay in a processor core's own cache


class Rows(NamedTuple):
    """Statistics of the distribution p of each row.

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


def row_statistics(
    logits: Tensor, bias: Tensor, targets: Tensor, share: Tensor, facts: Tensor, squares: Tensor
) -> Rows:
    """Compute the statistics of the distributions ``softmax(logits + bias)``.

    Args:
        logits: ``[P, R, N]``; left as they are.
        bias: ``[P, N]``.
        targets: Items ``[P, R, H]``.
        share: What each of them counts for ``[P, R, H]``.
        facts: ``[N, C]``.
        squares: ``[N]``.
    """
    (pack, rows, n_items), kinds = logits.shape, facts.shape[1]
    statistics, inverse = bias.new_empty(4, pack * rows), bias.new_empty(pack * rows)
    means = bias.new_empty(pack * rows, kinds)
    masses = bias.new_empty(_chunk(n_items), n_items)
    bits, shift, biases = _bits(logits), _shift(logits), _array(bias)
    wanted, shares = _rows(targets), _rows(share)
    weights, mass_buffer = _array(squares), _array(masses)
    statistic_rows, inverse_rows = _array(statistics), _array(inverse)
    for begin, end in _chunks(pack * rows, n_items):
        part = slice(begin, end)
        statistics_rows(
            bits[part],
            shift,
            biases,
            begin,
            rows,
            wanted[part],
            shares[part],
            weights,
            mass_buffer,
            statistic_rows[:, part],
            inverse_rows[part],
        )
        torch.mm(masses[: end - begin], facts, out=means[part])  # while masses are in the cache
    means.mul_(inverse.unsqueeze(1))
    normaliser, entropy_of_targets, negative_entropy, same = statistics.view(4, pack, rows)
    return Rows(
        normaliser, entropy_of_targets, negative_entropy, same, means.view(pack, rows, kinds)
    )


def logit_gradient(
    logits: Tensor,
    bias: Tensor,
    normaliser: Tensor,
    targets: Tensor,
    share: Tensor,
    slopes: tuple[Tensor, Tensor],
    terms: Tensor,
    squares: Tensor,
) -> tuple[Tensor, Tensor]:
    """Compute the gradient over the logits ``[P, R, N]``, in their dtype, and the bias ``[P, N]``.

    ``p_i (w . f_i - level + entropy log p_i - doubled p_i s_i) - accuracy q_i``, with q a row's
    targets and what each counts for.

    Args:
        logits: As in `row_statistics`.
        bias: As in `row_statistics`.
        normaliser: As `row_statistics` has it.
        targets: As in `row_statistics`.
        share: As in `row_statistics`.
        slopes: w ``[P, R, C]`` and f ``[N, C]``.
        terms: level, entropy, doubled and accuracy of each row ``[P, R, 4]``.
        squares: s ``[N]``.
    """
    (pack, rows, n_items), (weights, facts) = logits.shape, slopes
    gradient, bias_gradient = torch.empty_like(logits), bias.new_zeros(bias.shape)
    weights = weights.reshape(pack * rows, -1)
    linear = bias.new_empty(_chunk(n_items), n_items)
    bits, shift, biases, gradient_bits = (
        _bits(logits),
        _shift(logits),
        _array(bias),
        _bits(gradient),
    )
    levels, wanted, shares = _array(normaliser.reshape(-1)), _rows(targets), _rows(share)
    of_rows, of_items, linear_buffer, sums = (
        _rows(terms),
        _array(squares),
        _array(linear),
        _array(bias_gradient),
    )
    for begin, end in _chunks(pack * rows, n_items):
        part = slice(begin, end)
        torch.mm(weights[part], facts.T, out=linear[: end - begin])
        gradient_rows(
            bits[part],
            shift,
            biases,
            begin,
            rows,
            levels[part],
            wanted[part],
            shares[part],
            linear_buffer,
            of_rows[part],
            of_items,
            gradient_bits[part],
            sums,
        )
    return gradient, bias_gradient


def cross_entropy(
    logits: Tensor, bias: Tensor, targets: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Replace logits by ``m (p - q)``, with m the row's mass relative to its highest logit.

    Args:
        logits: As in `row_statistics`, but changed.
        bias: As in `row_statistics`.
        targets: As in `row_statistics`.
        share: As in `row_statistics`.

    Returns:
        Cross-entropy and m, ``[P, R]`` each.
    """
    pack, rows, _ = logits.shape
    statistics = bias.new_empty(2, pack * rows)
    cross_entropy_rows(
        _bits(logits),
        _shift(logits),
        _array(bias),
        rows,
        _rows(targets),
        _rows(share),
        _array(statistics),
    )
    values, masses = statistics.view(2, pack, rows)
    return values, masses


def _bits(logits: Tensor) -> Bits:
    """View logits as unsigned integers ``[P * R, N]``, the same memory."""
    kind = torch.uint16 if logits.dtype == torch.bfloat16 else torch.uint32
    bits: Bits = logits.view(kind).view(-1, logits.shape[2]).numpy()
    return bits


def _shift(logits: Tensor) -> int:
    """Return by how many bits the integers are shifted to be those of a float32."""
    return 32 - 8 * logits.itemsize


def _array(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().contiguous().numpy()
    return array


def _rows(values: Tensor) -> NDArray[Any]:
    """Flatten to ``[P * R, ...]``."""
    return _array(values.reshape(-1, values.shape[-1]))


def _chunk(n_items: int) -> int:
    return max(1, CHUNK_ELEMENTS // n_items)


def _chunks(rows: int, n_items: int) -> list[tuple[int, int]]:
    step = _chunk(n_items)
    return [(begin, min(begin + step, rows)) for begin in range(0, rows, step)]
