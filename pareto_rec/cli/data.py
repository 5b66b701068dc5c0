"""Commands ``data``: list, fetch, inspect and draft data sets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pareto_rec.cli.shared import Json, show
from pareto_rec.core.errors import BadRequestError, unknown


@dataclass(frozen=True)
class _Columns:
    """Columns of a log that the user named."""

    user: str | None
    item: str | None
    time: str | None


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
    from pareto_rec.core.paths import cache_dir
    from pareto_rec.data import fetch

    folder = fetch(name, cache_dir())
    show({"name": name, "folder": str(folder)}, [str(folder)], as_json=json_)


@data_app.command("inspect")
def data_inspect(
    what: Annotated[
        list[str],
        typer.Argument(help="A data set's name, a config, or files.", metavar="NAME|CONFIG|FILES"),
    ],
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            metavar="COLUMN",
            help="Of files: the column of users; recognised by its name if not given.",
        ),
    ] = None,
    item: Annotated[
        str | None,
        typer.Option(
            "--item",
            metavar="COLUMN",
            help="Of files: the column of items; recognised by its name if not given.",
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="COLUMN",
            help="Of files: the column of times; recognised by its name if not given.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Say what is in a data set, or in the data of a config; draft a config from files.

    Of data: people, items, signals, times, categories, the leak of its split, and for a table where
    every row went. Of files (CSV or Parquet, plain or packed): what stands in their columns, and a
    config to start from, on standard output.

    Example: pareto-rec data inspect log.csv items.csv > experiment.toml
    """
    from pareto_rec.data import DATASETS

    first = Path(what[0])
    if len(what) == 1 and what[0] in DATASETS:
        _inspect_registered(what[0], json_=json_)
    elif len(what) == 1 and (first.suffix == ".toml" or (first / "config.toml").is_file()):
        _inspect_config(first, json_=json_)
    elif len(what) == 1 and re.fullmatch(r"[\w-]+", what[0]) and not first.exists():
        raise unknown("data set or file", what[0], DATASETS)
    else:
        _inspect_files(what, _Columns(user, item, time), json_=json_)


def _inspect_files(files: list[str], columns: _Columns, *, json_: bool) -> None:
    from pareto_rec.data.table.draft import draft
    from pareto_rec.data.table.files import find
    from pareto_rec.data.table.options import TableOptions
    from pareto_rec.data.table.profile import profiles
    from pareto_rec.data.table.roles import Roles
    from pareto_rec.data.table.sources import sources_of

    options = TableOptions()
    files_read = profiles(find(files, "FILES"), options)
    sources = sources_of(files_read, Roles(columns.user, columns.item, columns.time))
    first = sources.log.files[0]
    name = Path(first.member or first.path.name).name.partition(".")[0]
    text = draft(sources, re.sub(r"\W+", "_", name).strip("_") or "table", options)
    shown = {
        profile.files[0].name: {column.name: column.summary() for column in profile.columns}
        for profile in files_read
    }
    show({"config": text, "columns": shown}, [text.rstrip()], as_json=json_)


def _inspect_config(path: Path, *, json_: bool) -> None:
    from pareto_rec.core.paths import cache_dir
    from pareto_rec.data.inspect import as_text, describe
    from pareto_rec.data.table import as_lines
    from pareto_rec.experiment.config import load_data_config
    from pareto_rec.experiment.inputs import read_dataset, split_dataset

    config = load_data_config(path)
    dataset = read_dataset(config, cache_dir())
    try:
        description = describe(dataset, split_dataset(config, dataset))
    except BadRequestError as error:  # the rows are worth knowing all the same
        description = {**describe(dataset), "split": {"problem": str(error)}}
    account = dict(dataset.account or {})
    lines = [*as_lines(account), ""] if account else []
    more = {"account": account} if account else {}
    show({**description, **more}, [*lines, as_text(description)], as_json=json_)


def _inspect_registered(name: str, *, json_: bool) -> None:
    from pareto_rec.core.paths import cache_dir
    from pareto_rec.data import load
    from pareto_rec.data.inspect import as_text, describe
    from pareto_rec.data.split import split as cut
    from pareto_rec.experiment.config import SplitConfig

    dataset, shares = load(name, cache_dir()), SplitConfig()
    split = cut(
        dataset,
        shares.kind,
        validation=shares.validation,
        test=shares.test,
        seed=shares.seed,
    )
    description = describe(dataset, split)
    show(description, [as_text(description)], as_json=json_)


@data_app.command("synth")
def data_synth(
    out: Annotated[Path, typer.Option("--out", help="Folder for the files; created if missing.")],
    users: Annotated[int, typer.Option("--users", help="Number of users.")] = 1_000,
    items: Annotated[int, typer.Option("--items", help="Number of items.")] = 2_000,
    interactions: Annotated[int, typer.Option("--interactions", help="Number of rows.")] = 50_000,
    seed: Annotated[
        int, typer.Option("--seed", help="Random seed; equal seeds give equal files.")
    ] = 0,
    form: Annotated[str, typer.Option("--format", help="File format: parquet or csv.")] = "parquet",
    json_: Json = False,
) -> None:
    """Make up a log of any size: power-law people and items, tastes, texts, times, ratings.

    Example: pareto-rec data synth --users 100000 --items 50000 --interactions 10000000 --out big
    """
    from pareto_rec.data.synth import Recipe, write

    paths = write(Recipe(users, items, interactions, seed), out, form)
    content = {name: str(path) for name, path in paths.items()}
    show(content, list(content.values()), as_json=json_)
