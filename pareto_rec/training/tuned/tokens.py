"""Token states at a cut, on disk in half precision: the input of the layers above it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.backbone.cached import Backbone, Progress, Reading
from pareto_rec.backbone.features import RowArray, StateArray, find, keep

_DTYPE = "float16"


@dataclass(frozen=True)
class TokenStates:
    """States of the tokens of all texts, end to end without padding.

    Attributes:
        states: ``[tokens, width]``, float16, mapped read-only from disk.
        starts: ``[texts + 1]``: rows ``starts[t]:starts[t + 1]`` are of text ``t``.
        key: What they were computed from and how.
    """

    states: StateArray
    starts: NDArray[np.int64]
    key: str

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per text ``[texts]``."""
        return np.diff(self.starts)

    def padded(self, texts: RowArray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return states of some texts.

        Args:
            texts: Row numbers ``[B]``; a text may come twice.
            device: Where to put them.

        Returns:
            States ``[B, L, width]`` in float32, zero behind a text's end, L being the longest of
            these texts; and which tokens there are ``[B, L]``.
        """
        places = np.arange(int(self.lengths[texts].max()))
        here = places < self.lengths[texts][:, None]
        rows = np.where(here, self.starts[texts][:, None] + places, 0)
        states = np.asarray(self.states[rows], dtype=np.float32)
        states[~here] = 0.0
        return torch.from_numpy(states).to(device), torch.from_numpy(here).to(device)


def token_states(
    backbone: Backbone,
    texts: Sequence[str],
    cut: int,
    reading: Reading,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> TokenStates:
    """Return states of all tokens after the first `cut` layers, computed once and kept on disk.

    Args:
        backbone: The encoder; not altered.
        texts: At least one.
        cut: Layers to run; 0 for the embeddings.
        reading: How texts are read.
        cache: Root of the cache; None for the backbone's own.
        progress: Told how far it is after every batch.

    Raises:
        BadRequestError: If an argument is out of range or the cache cannot be written.
        RunFailedError: If a state is not a number that float16 can hold.
    """
    backbone.check(texts, reading, cut, _DTYPE)
    starts = backbone.tokens(texts, reading).starts
    recipe = backbone.recipe(texts, reading, cut, _DTYPE, int(starts[-1]), "tokens")
    folder = (cache or backbone.cache) / "features"
    states = find(folder, recipe)
    if states is None:
        note = {"backbone": backbone.name, "device": reading.device}
        states = keep(folder, recipe, _flat(backbone, texts, cut, reading, starts, progress), note)
    return TokenStates(states, starts, recipe.key)


def _flat(
    backbone: Backbone,
    texts: Sequence[str],
    cut: int,
    reading: Reading,
    starts: NDArray[np.int64],
    progress: Progress | None,
) -> Iterator[tuple[RowArray, NDArray[Any]]]:
    """Yield rows of the table of tokens and their states, batch by batch."""
    for rows, states in backbone.token_states(texts, [cut], reading, progress):
        hidden = states[cut].float().cpu().numpy()
        places = starts[rows][:, None] + np.arange(hidden.shape[1])
        yield places.reshape(-1), hidden.reshape(-1, hidden.shape[-1])
