"""Data, split, backbone and features that a config names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pareto_rec.backbone.cached import Backbone
from pareto_rec.backbone.features import Features
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.seeds import child_seed
from pareto_rec.data import load
from pareto_rec.data.sample import sample_dataset
from pareto_rec.data.schema import Dataset, Split, Stage
from pareto_rec.data.split import split
from pareto_rec.data.table import load_table
from pareto_rec.experiment.config import Config
from pareto_rec.tasks import check_tasks
from pareto_rec.training.adapt.recipe import Recipe
from pareto_rec.training.adapt.store import find

EncodeProgress = Callable[[int, int, float], None]

MOST_SINGLE = 50_000  # texts whose features are kept in single precision; above it, in half


def read_split(config: Config, cache: Path) -> Split:
    """Load the data of a config and split it."""
    return split_dataset(config, read_dataset(config, cache))


def read_dataset(config: Config, cache: Path) -> Dataset:
    """The data of a config: a registered data set, or a table of one's own.

    Raises:
        BadRequestError: If it cannot be had, or lacks a signal that the config names.
    """
    chosen = config.data
    table = chosen.kind == "table"
    dataset = load_table(chosen, chosen.name, cache) if table else load(chosen.name, cache)
    for signal in (config.data.relevance, config.data.liked):
        if signal is not None and signal not in dataset.interactions.signals:
            raise unknown("signal", signal, dataset.interactions.signals)
    check_tasks(config.tasks, dataset.interactions.signals)
    return dataset


def split_dataset(config: Config, dataset: Dataset) -> Split:
    """The data of a config, or the sample of it that the config asks for, split as it says."""
    chosen = config.sample
    seed = child_seed(config.seed, "sampled users")
    signal = config.data.relevance
    return split(
        sample_dataset(dataset, chosen.users, chosen.items, relevance=signal, seed=seed),
        config.split.kind,
        validation=config.split.validation,
        test=config.split.test,
        seed=config.split.seed,
    )


def open_backbone(config: Config, cache: Path, validation: Callable[[], Stage]) -> Backbone:
    """The backbone of a config, or what `pareto-rec adapt` made of it.

    Args:
        config: The config.
        cache: Root of the cache.
        validation: The validation stage, asked for an adapted backbone only.

    Raises:
        BadRequestError: If there is no such backbone, or none was adapted yet.
    """
    backbone = Backbone.load(config.backbone.name, cache)
    if not config.backbone.adapted:
        return backbone
    return find(backbone, validation(), adapt_recipe(config), cache)


def adapt_recipe(config: Config) -> Recipe:
    """How the backbone of a config is adapted."""
    return Recipe(
        **config.adapt.model_dump(),
        max_length=config.backbone.max_length,
        seed=child_seed(config.seed, "adapt"),
    )


def encode_texts(
    config: Config,
    backbone: Backbone,
    texts: tuple[str, ...],
    cache: Path,
    progress: EncodeProgress | None = None,
) -> Features:
    """Backbone features of the item texts, computed once.

    Raises:
        BadRequestError: If the backbone has fewer layers than a candidate may run.
    """
    _check_depths(config, backbone)
    return backbone.encode(
        texts,
        max_length=config.backbone.max_length,
        cut=config.backbone.cut,
        dtype="float16" if len(texts) > MOST_SINGLE else "float32",
        cache=cache,
        device=config.train.device,
        progress=progress,
    )


def _check_depths(config: Config, backbone: Backbone) -> None:
    """Refuse layers that are not there before anything is encoded."""
    searched = config.space.train.get("exit_layer")
    asked = [config.fixed.get("exit_layer", 0)]
    if searched is not None:
        asked += [*(searched.options or ()), searched.high or 0]
    deepest = max(int(one) for one in asked)
    if deepest > backbone.n_layers:
        raise BadRequestError(
            f"exit_layer = {deepest}: {backbone.name} has {backbone.n_layers} layers; lower it"
        )
