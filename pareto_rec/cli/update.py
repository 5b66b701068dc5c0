"""Command ``update``: new interactions into a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pareto_rec.cli.shared import Json, show
from pareto_rec.core.errors import BadRequestError

if TYPE_CHECKING:
    from pareto_rec.bundle.update.flow import Update


def update(
    bundle: Annotated[
        Path, typer.Argument(help="A bundle, written by `pareto-rec export`.", metavar="BUNDLE")
    ],
    interactions: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet: user, item, timestamp, signals; title, text and categories "
            "describe new items.",
            metavar="INTERACTIONS",
        ),
    ],
    to: Annotated[Path, typer.Option(help="Folder for the new bundle.")],
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OBJECTIVE=FALL",
            help="Largest accepted loss in natural units; default 2 % of the value; repeatable.",
        ),
    ] = None,
    hold_out: Annotated[
        float, typer.Option(help="Share of the new rows, the latest, to measure on.")
    ] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    json_: Json = False,
) -> None:
    """Learn from new interactions into a new bundle, unless an objective falls too far.

    Example: pareto-rec update bundle new.csv --to bundle-2 --tolerance ndcg@10=0.005
    """
    from pareto_rec.bundle.update.flow import refusal
    from pareto_rec.bundle.update.flow import update as update_bundle

    result = update_bundle(
        bundle,
        interactions,
        to,
        tolerance=_tolerances(tolerance or []),
        hold_out=hold_out,
        seed=seed,
    )
    lines = [*_lines(result), "" if result.refused else f"written to {to}"]
    show(result.to_json(), lines, as_json=json_)
    if result.refused:
        raise refusal(result)


def _tolerances(texts: list[str]) -> dict[str, float]:
    tolerances = {}
    for text in texts:
        name, sign, value = text.rpartition("=")
        try:
            tolerances[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise BadRequestError(
                f'tolerance "{text}" cannot be read: write for example "ndcg@10=0.005"'
            )
    return tolerances


def _lines(update: Update) -> list[str]:
    drift = update.drift
    lines = [
        f"{drift.rows} new rows: {update.learnt} learnt from, the last {update.held_out} measured "
        "on"
        + (f", {update.unknown_items} left out (unknown items)" if update.unknown_items else ""),
        f"drift: {drift.new_users:.1%} of their users and {drift.new_items:.1%} of their items are "
        f"new; popularity moved by {drift.popularity:.3f} of 1 (by chance alone: "
        f"{drift.popularity_by_chance:.3f}), categories by {drift.categories:.3f}",
        *(f"  {name}: {before:.1%} -> {now:.1%}" for name, before, now in drift.category_shift),
        "",
        f"{'rows':<15} {'point':<13} {'objective':<18} {'before':>8} {'after':>8} {'tolerance':>9}",
    ]
    lines += [
        f"{change.rows:<15} {change.point:<13} {change.objective:<18} {change.before:8.4f} "
        f"{change.after:8.4f} {change.tolerance:9.4f}"
        + ("  fell too far" if change.fell > change.tolerance else "")
        for change in update.changes
    ]
    return [*lines, "", f"{update.seconds:.1f} s"]
