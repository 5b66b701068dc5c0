"""New items of a bundle: from their text to what networks read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.backbone.cached import Backbone
from pareto_rec.bundle.data import BundleData
from pareto_rec.bundle.encoder import load_backbone, reading_of
from pareto_rec.bundle.files import CONFIG
from pareto_rec.bundle.interruption import interruption_point
from pareto_rec.bundle.types import NewItem
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.data.schema import Items
from pareto_rec.training.data import Fit

Floats = NDArray[np.float32]
_LEAST_KNOWN = 10  # an added item's bias is the mean bias of one in so many, the least popular


class Texts:
    """Encodes texts as the items of the catalogue were encoded."""

    def __init__(self, parts: BundleData) -> None:
        self.folder, self.manifest = parts.backbone, parts.manifest
        self.copies = parts.backbone_copies
        self.mean, self.loadings = parts.mean, parts.loadings
        reading = reading_of(parts.config, self.folder.parent / CONFIG)
        self.reads, self.max_length, self.cut = reading.text, reading.max_length, reading.cut

    @cached_property
    def backbone(self) -> Backbone:
        """The encoder of the bundle.

        Raises:
            BadRequestError: If its files are not as they were written.
        """
        return load_backbone(self.folder, self.manifest, self.copies)

    @cached_property
    def encoder(self) -> Any:  # transformers' classes differ by model
        """Its layers below the cut."""
        layers = self.backbone.n_layers if self.cut is None else self.cut
        if layers > self.backbone.n_layers:
            raise BadRequestError(
                f"{self.folder}: an encoder of {self.backbone.n_layers} layers cannot be cut at "
                f"{layers}; export the bundle again"
            )
        return self.backbone.below(layers)

    def features(self, texts: Sequence[str]) -> Floats:
        """Return states of the backbone ``[texts, F]``, mean over tokens, one text at a time."""
        if not self.reads:
            return np.zeros((len(texts), len(self.mean)), dtype=np.float32)
        rows: list[Floats] = []
        for text in texts:
            interruption_point()
            ids = self.backbone.tokenizer(text, truncation=True, max_length=self.max_length)
            with torch.inference_mode():
                output = self.encoder(input_ids=torch.tensor([ids["input_ids"]]))
                rows.append(output.last_hidden_state.mean(dim=1)[0].float().numpy())
        return np.stack(rows) if rows else np.empty((0, len(self.mean)), dtype=np.float32)

    def project(self, features: Floats) -> Floats:
        """Return what networks read of items with these features ``[texts, D]``."""
        return np.asarray((features - self.mean) @ self.loadings, dtype=np.float32)

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Return what networks read of items with these texts ``[texts, D]``."""
        return self.project(self.features(texts))


def with_new_items(
    parts: BundleData,
    items: Sequence[NewItem],
    texts: Texts,
    features: Mapping[str, Floats] | None = None,
) -> BundleData:
    """Return parts with items added, or changed where the id is known.

    Args:
        parts: The parts; they are not changed.
        items: The items; of several with one id, the last counts.
        texts: Encodes them.
        features: Id -> states of the backbone ``[F]`` of items that were encoded before.

    Raises:
        BadRequestError: If an item has no text, or a category that the bundle does not know.
    """
    if parts.own_vectors:
        raise BadRequestError(
            "networks of this bundle read texts through layers of their own, which new items "
            "cannot pass; export a point without tuned layers to add items"
        )
    latest = {item.id: item for item in items}
    known = {id_: index for index, id_ in enumerate(parts.items.ids)}
    for item in latest.values():
        if not item.id or not (item.text or item.title):
            raise BadRequestError(f'item "{item.id}" needs an id and a text')
        for name in item.categories:
            if name not in parts.items.category_names:
                raise unknown(f'category of item "{item.id}"', name, parts.items.category_names)
    if not latest:
        return parts
    added = [id_ for id_ in latest if id_ not in known]
    places = known | {id_: len(known) + index for index, id_ in enumerate(added)}
    rows = np.array([places[id_] for id_ in latest])
    given = features or {}
    unread = [id_ for id_ in latest if id_ not in given]
    read = texts.features([latest[id_].text or latest[id_].title for id_ in unread])
    states = {**given, **dict(zip(unread, read, strict=True))}
    table = np.stack([states[id_] for id_ in latest])
    return replace(
        parts,
        items=_catalogue(parts.items, latest, places),
        features=_put(parts.features, rows, table),
        vectors=_put(parts.vectors, rows, texts.project(table)),
        fits={name: _longer(fit, len(added), parts.popularity) for name, fit in parts.fits.items()},
    )


def _put(table: Floats, rows: NDArray[np.int64], values: Floats) -> Floats:
    longer = np.concatenate([table, values[:0]])
    missing = max(0, int(rows.max()) + 1 - len(table))
    longer = np.concatenate([longer, np.zeros((missing, table.shape[1]), dtype=np.float32)])
    longer[rows] = values
    return longer


def _catalogue(old: Items, latest: Mapping[str, NewItem], places: Mapping[str, int]) -> Items:
    missing = len(places) - len(old)
    ids, titles, texts = ([*column, *[""] * missing] for column in (old.ids, old.titles, old.texts))
    width = old.categories.shape[1]
    categories = np.concatenate([old.categories, np.zeros((missing, width), dtype=np.float32)])
    for id_, item in latest.items():
        index = places[id_]
        ids[index], texts[index] = id_, item.text or item.title
        titles[index] = item.title or titles[index] or id_
        if item.categories or index >= len(old):
            categories[index] = [name in item.categories for name in old.category_names]
    prices = old.prices
    if prices is not None:
        prices = np.concatenate([prices, np.full(missing, np.nan, dtype=np.float32)])
    attributes = {name: (*of, *[""] * missing) for name, of in old.attributes.items()}
    known = (tuple(ids), tuple(titles), tuple(texts), categories, old.category_names)
    return Items(*known, prices, attributes)


def _longer(fit: Fit, count: int, popularity: NDArray[np.int64]) -> Fit:
    """Return a fit over more items: without own embeddings, with the bias of rare ones."""
    if not count:
        return fit
    n_items = len(fit.params["item.embed"])
    least = np.argsort(popularity, kind="stable")[: max(1, n_items // _LEAST_KNOWN)].copy()

    def longer(name: str, part: Tensor) -> Tensor:
        if name == "item.embed":
            return torch.cat([part, part.new_zeros(count, part.shape[1])])
        if name.endswith(".item_bias"):
            return torch.cat([part, part[torch.from_numpy(least)].mean().expand(count)])
        return part

    params = {name: longer(name, part) for name, part in fit.params.items()}
    return replace(fit, params=params, shape=replace(fit.shape, n_items=n_items + count))
