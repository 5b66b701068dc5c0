"""Ways to combine several losses into the one that is minimised.

All receive losses that were divided by the size of their value at initialisation.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Combine = Callable[[Tensor, Tensor, Tensor], Tensor]


def weighted_sum(losses: Tensor, weights: Tensor, ideal: Tensor) -> Tensor:  # noqa: ARG001
    """``sum_i w_i l_i``.

    Args:
        losses: ``[P, M]`` scaled losses.
        weights: ``[P, M]`` points of the simplex.
        ideal: ``[P, M]`` scaled lower bounds.

    Returns:
        ``[P]``.
    """
    return (weights * losses).sum(-1)


def weighted_chebyshev(losses: Tensor, weights: Tensor, ideal: Tensor) -> Tensor:
    """``max_i w_i (l_i - z_i)`` with the lower bounds as ideal point (Bowman 1976).

    Unlike the sum it reaches points on concave parts of the front. Arguments as
    :func:`weighted_sum`.
    """
    return (weights * (losses - ideal)).amax(-1)


COMBINE: dict[str, Combine] = {
    "weighted_sum": weighted_sum,
    "weighted_chebyshev": weighted_chebyshev,
}
