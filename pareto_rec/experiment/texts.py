"""Ways of reading texts that the candidates of an experiment may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path

from pareto_rec.backbone.cached import Backbone
from pareto_rec.evaluation.evaluator import resolve_device
from pareto_rec.experiment.config import Config
from pareto_rec.search.space import Choice, Integer, SearchSpace
from pareto_rec.training.spec import TrainSpec, train_spec
from pareto_rec.training.tuned.source import TextSource

_MOST_DEPTHS = 100  # ways of reading texts that are prepared before the search
_READING = ("exit_layer", "text_length", "encoder_precision", "tuned_layers")


def text_source(
    config: Config,
    space: SearchSpace,
    texts: tuple[str, ...],
    cache: Path,
    backbone: Callable[[], Backbone],
) -> TextSource | None:
    """Item features at any depth and by tuned layers, those that the search may read computed.

    Args:
        config: The experiment's config.
        space: Its decision variables.
        texts: One per item.
        cache: Root of the cache.
        backbone: Opens the backbone.

    Returns:
        None where models read no text.

    Raises:
        BadRequestError: If the backbone has fewer layers than are asked for.
    """
    if not config.backbone.text:
        return None
    source = TextSource(
        backbone,
        texts,
        max_length=config.backbone.max_length,
        cut=config.backbone.cut,
        components=config.backbone.components,
        device=resolve_device(config.train.device),
        cache=cache,
    )
    source.prepare(list(_depths(config, space)))
    return source


def _depths(config: Config, space: SearchSpace) -> Iterator[TrainSpec]:
    """Every way of reading texts that the search may meet, as specs."""
    ways = []
    for name in _READING:
        variable = space.train.get(name)
        fixed = [config.fixed[name]] if name in config.fixed else []
        match variable:
            case Choice(options=options):
                ways.append([(name, value) for value in options])
            case Integer(low=low, high=high):
                ways.append([(name, value) for value in range(low, high + 1)])
            case _:
                ways.append([(name, value) for value in fixed or [getattr(TrainSpec(), name)]])
    for values in islice(product(*ways), _MOST_DEPTHS):
        yield train_spec({}, dict(values))
