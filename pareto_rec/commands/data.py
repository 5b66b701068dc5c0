"""The commands about data: list, fetch, inspect."""

from __future__ import annotations

from typing import Annotated

import typer

from pareto_rec.commands.shared import Json, show

data_app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
DataName = Annotated[str, typer.Argument(help="A name that `pareto-rec data list` shows.")]


@data_app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """List, fetch and inspect data sets.

    Example: pareto-rec data list
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@data_app.command("list")
def data_list(json_: Json = False) -> None:
    """List the known data sets.

    Example: pareto-rec data list
    """
    from pareto_rec.data import DATASETS

    content = {name: loader.about for name, loader in DATASETS.items()}
    show(content, [f"{name}  {about}" for name, about in content.items()], as_json=json_)


@data_app.command("fetch")
def data_fetch(name: DataName, json_: Json = False) -> None:
    """Fetch a data set into the cache, verify its checksums, print where it is.

    Example: pareto-rec data fetch movielens-100k
    """
    from pareto_rec.data import fetch
    from pareto_rec.paths import cache_dir

    folder = fetch(name, cache_dir())
    show({"name": name, "folder": str(folder)}, [str(folder)], as_json=json_)


@data_app.command("inspect")
def data_inspect(name: DataName, json_: Json = False) -> None:
    """Say what is in a data set: people, items, signals, times, categories, leak of its split.

    Example: pareto-rec data inspect movielens-100k
    """
    from pareto_rec.config import SplitConfig
    from pareto_rec.data import load
    from pareto_rec.data.inspect import as_text, describe
    from pareto_rec.data.split import split as cut
    from pareto_rec.paths import cache_dir

    dataset, shares = load(name, cache_dir()), SplitConfig()
    split = cut(
        dataset,
        shares.kind,
        validation=shares.validation,
        test=shares.test,
        seed=shares.seed,
    )
    found = describe(dataset, split)
    show(found, [as_text(found)], as_json=json_)
