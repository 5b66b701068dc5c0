"""Recipe of a domain adaptation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a backbone is adapted.

    Attributes:
        steps: Updates of the encoder.
        texts: Texts with masked tokens per step; 0 for none.
        pairs: Pairs of items per step; 0 for none.
        mask: Share of the tokens that are masked.
        window: Rows of a history within which two items make a pair.
        temperature: Of the softmax over the other items of a batch.
        rate: Peak learning rate of the topmost layer.
        decay: Every layer further down learns at this share of the rate of the one above it.
        max_length: Tokens per text.
        seed: Root of all draws.
    """

    steps: int = 150
    texts: int = 32
    pairs: int = 48
    mask: float = 0.15
    window: int = 10
    temperature: float = 0.07
    rate: float = 1e-4
    decay: float = 0.9
    max_length: int = 64
    seed: int = 0
