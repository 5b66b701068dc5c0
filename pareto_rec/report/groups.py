"""Groups of users by length of history, from the values per user that the run measured."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.wording import isolated
from pareto_rec.runs.files import check_file
from pareto_rec.runs.view import Axis, RunView

if TYPE_CHECKING:
    import pandas as pd

VALUES, PEOPLE = "per_user/front.parquet", "per_user/users.parquet"
ORDER = ("none", "short", "medium", "long")
COLD = "cold_"  # objectives on cold items begin with it


@dataclass(frozen=True)
class Group:
    """Users with histories of about equal length.

    Attributes:
        name: ``none``, ``short``, ``medium`` or ``long``.
        users: How many.
        rows: Fewest and most rows of a history.
        values: Objective -> mean at the point shown, and the lowest and highest mean of the marked
            points; None where no user of the group has a value.
    """

    name: str
    users: int
    rows: tuple[int, int]
    values: Mapping[str, tuple[float, float, float] | None]


@dataclass(frozen=True)
class Groups:
    """Values of a run for users with little history and for cold items.

    Attributes:
        point: Id of the point shown, the best by the first objective.
        axes: Searched objectives that have values per user, and those on cold items.
        groups: From no history to long ones.
        cold_items: Items without a training row; None where the run does not say.
    """

    point: str
    axes: tuple[Axis, ...]
    groups: tuple[Group, ...]
    cold_items: int | None

    @property
    def measures_cold(self) -> bool:
        """Whether any objective is on cold items."""
        return any(axis.name.startswith(COLD) for axis in self.axes)

    def to_json(self) -> list[dict[str, Any]]:
        """As values that ``json`` writes."""
        return [
            {
                "history": group.name,
                "users": group.users,
                "rows": list(group.rows),
                "values": {name: list(values) for name, values in group.values.items() if values},
            }
            for group in self.groups
        ]


def groups(view: RunView) -> Groups | None:
    """Return the groups of a run; None where it has no values per user, as while it goes on.

    Raises:
        BadRequestError: If a file is there and damaged.
    """
    paths = view.path / VALUES, view.path / PEOPLE
    if view.front.empty or not all(path.is_file() for path in paths):
        return None
    for name in (VALUES, PEOPLE):
        check_file(view.path, name, view.info)
    cold = [axis for axis in view.reported if axis.name.startswith(COLD)]
    people = _read(paths[1], ["user", "history", "history_length"]).set_index("user")
    values = _read(paths[0], ["id", "user"])
    axes = tuple(axis for axis in (*view.axes, *cold) if axis.name in values)
    if not axes or not set(values["user"]) <= set(people.index):
        return None
    names = [axis.name for axis in axes]
    values = values.assign(group=values["user"].map(people["history_length"]))
    means = values.groupby(["group", "id"])[names].mean()
    first = view.axes[0]
    ordered = view.front.sort_values(first.name, ascending=not first.maximise)
    point = str(ordered["id"].iloc[0])
    marked = view.front.loc[view.front["selected"], "id"].astype(str).tolist() or [point]
    members = [
        _group(name, people, means.loc[[name]].droplevel(0), names, point, marked)
        for name in sorted(set(means.index.get_level_values("group")), key=_place)
    ]
    items = (view.info.get("cold_start") or {}).get("items")
    return Groups(point, axes, tuple(members), None if items is None else int(items))


def _place(name: str) -> tuple[int, str]:
    """Sort by length of history; groups of the data set's own come last."""
    return ORDER.index(name) if name in ORDER else len(ORDER), name


def _group(
    name: str,
    people: pd.DataFrame,
    means: pd.DataFrame,
    names: list[str],
    point: str,
    marked: list[str],
) -> Group:
    own = people.loc[people["history_length"] == name, "history"]
    there = means.reindex([point, *marked])[names]
    values: dict[str, tuple[float, float, float] | None] = {}
    for objective in names:
        column = there[objective].to_numpy(dtype=np.float64)
        known = column[np.isfinite(column)]
        shown = np.isfinite(column[0])
        values[objective] = (
            (float(column[0]), float(known.min()), float(known.max())) if shown else None
        )
    return Group(name, len(own), (int(own.min()), int(own.max())), values)


def _read(path: Path, needed: list[str]) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
        lacking = [name for name in needed if name not in frame]
        if lacking:
            raise ValueError(f"no column {lacking[0]}")
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        reason = " ".join(str(error).split())
        raise BadRequestError(f"{path} is damaged ({reason}); run the search again") from None
    return frame


def sentences(groups: Groups) -> list[str]:
    """Return one line for each group, and one on cold items, plain text."""
    lines = [
        f"{_people(group)}: "
        + ", ".join(f"{axis.name} {_cell(group.values[axis.name])}" for axis in groups.axes)
        for group in groups.groups
    ]
    return [*lines, *_on_cold_items(groups)]


def groups_part(view: RunView) -> str:
    """Return the section of the page; nothing where the run has no values per user."""
    content = groups(view)
    if content is None:
        return ""
    heads = "".join(f'<th scope="col">{html.escape(axis.label)}</th>' for axis in content.axes)
    body = "".join(
        f'<tr><th scope="row">{html.escape(_people(group))}</th>'
        + "".join(f"<td>{_cell(group.values[axis.name])}</td>" for axis in content.axes)
        + "</tr>"
        for group in content.groups
    )
    notes = " ".join([_what(content), *_on_cold_items(content)])
    return (
        '<section aria-labelledby="groups-title">'
        '<h2 id="groups-title">For people with little history</h2>'
        f'<p class="hint" id="groups-note">{html.escape(notes)}</p>'
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="groups-title">'
        '<table id="groups" class="grid"><thead><tr><th scope="col">History</th>'
        f"{heads}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _what(groups: Groups) -> str:
    return (
        f"Means over the people of each group at point {groups.point}, the best by the first "
        "objective; in brackets the lowest and highest of the marked points. Validation data."
    )


def _people(group: Group) -> str:
    if group.name == "none":
        return f"none ({group.users:,} users)"
    low, high = group.rows
    return f"{isolated(group.name)}: {low:,}\N{EN DASH}{high:,} rows ({group.users:,} users)"


def _cell(values: tuple[float, float, float] | None) -> str:
    if values is None:
        return "\N{EN DASH}"
    mean, low, high = (f"{value:.4g}" for value in values)
    return f"{mean} [{low}, {high}]"


def _on_cold_items(groups: Groups) -> list[str]:
    if not groups.cold_items:
        return [] if groups.cold_items is None else ["Every item has a training row."]
    text = f"{groups.cold_items:,} items are cold: they have no training row"
    if groups.measures_cold:
        return [f"{text}; accuracy among them has a column of its own."]
    return [f"{text}; report cold_ndcg to measure accuracy among them."]
