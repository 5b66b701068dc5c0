"""Command ``adapt``: continued pre-training of the backbone on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pareto_rec.cli.shared import Json, show


def adapt(
    config: Annotated[Path, typer.Argument(help="A config.toml, or the folder that holds it.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key of the config; repeatable."
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Afterwards, train on both backbones and compare them on validation data.",
        ),
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each kind for --compare.")] = 3,
    json_: Json = False,
) -> None:
    """Continue the backbone's pre-training on the data's own texts and training rows, once.

    The result lies in the cache; `backbone.adapted = true` in a config makes all candidates use it.

    Example: pareto-rec adapt experiments/movielens_accuracy_diversity_novelty --compare
    """
    from pareto_rec.analysis.adaptation import compared, lines
    from pareto_rec.analysis.adaptation import content as of_gains
    from pareto_rec.backbone.cached import Backbone
    from pareto_rec.cli.progress import counting
    from pareto_rec.core.leftovers import sweep_below
    from pareto_rec.core.paths import cache_dir
    from pareto_rec.experiment.config import load_config
    from pareto_rec.experiment.experiment import Experiment
    from pareto_rec.experiment.inputs import adapt_recipe
    from pareto_rec.training.adapt.run import adapted

    resolved, cache = load_config(config, set_ or []), cache_dir()
    sweep_below(cache)
    stage = Experiment.of(resolved, cache).split.validation
    backbone = Backbone.load(resolved.backbone.name, cache)
    with counting("adapting", quiet=json_) as on_progress:
        folder, existed = adapted(
            backbone,
            stage,
            adapt_recipe(resolved),
            cache,
            device=resolved.train.device,
            on_progress=on_progress,
        )
    content: dict[str, object] = {"folder": str(folder), "made_before": existed}
    text = [f"{folder}{' (made before)' if existed else ''}"]
    if compare:
        with counting("fitting", quiet=json_) as on_progress:
            rows = compared(resolved, cache, seeds=seeds, on_progress=on_progress)
        content["compared"] = of_gains(rows)
        text += lines(rows)
    show(content, text, as_json=json_)
