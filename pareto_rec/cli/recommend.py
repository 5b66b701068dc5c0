"""Command ``recommend``: one list from a bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pareto_rec.cli.shared import Json, show
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.wording import isolated

if TYPE_CHECKING:
    from pareto_rec.bundle import Recommendation, Recommended

_SHOWN = 3  # items of the history in an explanation for people

BundlePath = Annotated[Path, typer.Argument(help="A bundle.", metavar="BUNDLE")]


def recommend(
    bundle: BundlePath,
    user: Annotated[str | None, typer.Option(help="Id of a user.")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID,ID",
            help="Ids of a history, oldest first, separated by commas. Where ids hold commas: "
            """repeat the option, an id each time, or write a JSON list such as '["a,b", "c"]'.""",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Length of the list.")] = 10,
    point: Annotated[
        str | None, typer.Option(help="Operating point; default: the bundle's default.")
    ] = None,
    prefer: Annotated[
        str | None,
        typer.Option(help="Weights that choose the point, such as ndcg@10=.7,ild@10=.3."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Explain each score.")] = False,
    form: Annotated[str, typer.Option(help="Form of the bundle: fp32, onnx or int8.")] = "fp32",
    json_: Json = False,
) -> None:
    """Recommend items to a user, or for a history of items.

    Example: pareto-rec recommend bundle --history 50,181 -k 5 --explain
    """
    from pareto_rec.bundle import Bundle

    history = history or None  # typer has an empty list where the option was not given
    if user is None and history is None:
        raise BadRequestError("give --user ID or --history ID,ID")
    wanted = None if prefer is None else weights(prefer)
    items = None if history is None else ids_of(history)
    loaded = Bundle.load(bundle, form=form)
    answer = loaded.recommend(user, items, k=k, point=point, prefer=wanted, explain=explain)
    show(answer.to_json(), _lines(answer), as_json=json_)


def ids_of(given: Sequence[str]) -> list[str]:
    """Parse ids of a history: one option with commas or JSON, or several options.

    Raises:
        BadRequestError: If JSON is damaged, or holds something else than ids.
    """
    if len(given) > 1:
        return list(given)
    text = given[0].strip()
    if not text.startswith("["):
        return [item for item in given[0].split(",") if item]
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    ids = content if isinstance(content, list) else [None]
    if not all(type(item) in (str, int) for item in ids):
        raise BadRequestError(
            f"--history {text[:60]}: this is not a JSON list of ids; write for example "
            """'["a,b", "c"]', or repeat --history with an id each time"""
        )
    return [str(item) for item in ids]


def weights(text: str) -> dict[str, float]:
    """Return weights written as ``a=.7,b=.3``.

    Raises:
        BadRequestError: If they are written otherwise.
    """
    result = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        try:
            result[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise BadRequestError(
                f'"{part}" is not a weight; write for example ndcg@10=.7,ild@10=.3'
            )
    return result


def _lines(answer: Recommendation) -> list[str]:
    lines = [f"note: {note}" for note in answer.notes]
    for rank, item in enumerate(answer.items, start=1):
        lines.append(f"{rank:3}  {item.score:8.3f}  {isolated(item.title)}  ({isolated(item.id)})")
        lines += _why(item)
    if answer.reranking is not None and answer.reranking.brought_in:
        lines.append(f"re-ranking brought in: {', '.join(answer.reranking.brought_in)}")
        lines.append(f"  in place of: {', '.join(answer.reranking.left_out)}")
    lines.append(f"point {answer.point}, from {answer.served_from}")
    return lines


def _why(item: Recommended) -> list[str]:
    why = item.explanation
    if why is None:
        return []
    parts = ", ".join(f"{name} {value:+.3f}" for name, value in why.scorers.items())
    lines = [f"       {parts}; place {why.rank_before} before re-ranking"]
    for contribution in why.history[:_SHOWN]:
        lines.append(f"       {contribution.value:+.3f}  {isolated(contribution.title)}")
    others = sum(contribution.value for contribution in why.history[_SHOWN:])
    share = "" if why.exact else " (approximate)"
    lines.append(
        f"       {others:+.3f}  the rest of the history{share}, {why.rest:+.3f} no part of it"
    )
    return lines
