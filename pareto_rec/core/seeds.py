"""Child seeds from one root seed and labels; no global random state."""

from __future__ import annotations

import hashlib

import numpy as np


def child_seed(root: int, *labels: str | int) -> int:
    """Derive a seed that depends on the root and on every label, and on nothing else.

    Args:
        root: The run's seed.
        labels: What the seed is for, for example ``("generation", 3, "sweep")``.

    Returns:
        A non-negative integer below 2**63.
    """
    text = "\x1f".join([str(root), *(f"{type(label).__name__}:{label}" for label in labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(root: int, *labels: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded by :func:`child_seed`."""
    return np.random.default_rng(child_seed(root, *labels))
