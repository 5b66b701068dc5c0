"""AdamW's update, with every number read and written once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.kernels.compiled import compiled

Floats = NDArray[np.float32]


def update(
    param: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    rate: Tensor,
    decay: Tensor,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Change a parameter of a pack, and its moments, in place.

    Args:
        param: ``[P, ...]``, as are its gradient and its moments; contiguous.
        gradient: Of the loss.
        moments: Means of the gradients and of their squares.
        rate: What each candidate's ``first / (sqrt(second) + eps)`` is multiplied by ``[P]``.
        decay: Share of itself that each candidate's parameter loses ``[P]``.
        betas: What moments keep of themselves.
        eps: See `rate`.
    """
    _update(
        _flat(param, rate),
        _flat(gradient, rate),
        _flat(moments[0], rate),
        _flat(moments[1], rate),
        rate.numpy(),
        decay.numpy(),
        np.float32(betas[0]),
        np.float32(betas[1]),
        np.float32(eps),
    )


def _flat(values: Tensor, rate: Tensor) -> Floats:
    """Return ``[P, S]``, the same memory."""
    flat: Floats = values.detach().view(len(rate), -1).numpy()
    return flat


@compiled
def _update(
    param: Floats,
    gradient: Floats,
    first: Floats,
    second: Floats,
    rate: Floats,
    decay: Floats,
    beta1: np.float32,
    beta2: np.float32,
    eps: np.float32,
) -> None:
    for c in range(len(param)):
        for i in range(param.shape[1]):
            g = gradient[c, i]
            # first moment in the form of torch.optim.AdamW: a step from m towards g
            m = first[c, i] + (np.float32(1) - beta1) * (g - first[c, i])
            v = beta2 * second[c, i] + (np.float32(1) - beta2) * g * g
            first[c, i], second[c, i] = m, v
            step = rate[c] * m / (np.sqrt(v) + eps)
            param[c, i] -= decay[c] * param[c, i] + step
