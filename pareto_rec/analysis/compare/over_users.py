"""What the selected points of runs are resampled from, the same users for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pareto_rec.analysis.compare.runs import PER_USER, Compared
from pareto_rec.analysis.front_draws import Answers, ByUser
from pareto_rec.core.errors import BadRequestError
from pareto_rec.objectives import GroupValues, Objective, SetObjective, UserObjective, parse
from pareto_rec.runs.set_values import FILE as SETS
from pareto_rec.runs.set_values import SetValues
from pareto_rec.runs.view import Axis
from pareto_rec.search import Goal

if TYPE_CHECKING:
    import pandas as pd

Values = Mapping[str, ByUser]
"""Id of a selected point -> what one objective is resampled from."""


class _UnknownUsersError(Exception):
    """Why users cannot be resampled for an objective."""


@dataclass(frozen=True)
class OverUsers:
    """What the selected points of some runs are resampled from.

    Attributes:
        answers: (place of the point, 0) -> objective -> values; the points of the first run come
            first.
        places: Places of the points of each run.
        goals: The searched objectives that users can be resampled for.
        objectives: The same by name.
        left_out: Any other searched objective -> why not.
    """

    answers: Answers
    places: tuple[tuple[int, ...], ...]
    goals: tuple[Goal, ...]
    objectives: Mapping[str, Objective]
    left_out: Mapping[str, str]

    @property
    def points(self) -> int:
        """How many points there are."""
        return sum(len(own) for own in self.places)


def over_users(runs: Sequence[Compared]) -> OverUsers | str:
    """Return what the selected points of runs are resampled from; or why there is nothing.

    Args:
        runs: Comparable ones.

    Raises:
        BadRequestError: If a file is damaged.
    """
    try:
        tables = _tables(runs)
    except _UnknownUsersError as reason:
        return str(reason)
    users = list(dict.fromkeys(tables[0]["user"]))
    found: dict[str, list[Values]] = {}
    objectives: dict[str, Objective] = {}
    left_out: dict[str, str] = {}
    for axis in runs[0].view.axes:
        try:
            objectives[axis.name] = objective = _parsed(axis.name)
            found[axis.name] = _values(objective, runs, tables, users)
        except _UnknownUsersError as reason:
            left_out[axis.name] = str(reason)
    goals = tuple(_goal(axis) for axis in runs[0].view.axes if axis.name in found)
    if not any(_is_resampled(objectives[goal.name]) for goal in goals):
        reasons = [f"{name}: {reason}" for name, reason in left_out.items()]
        return "; ".join(reasons) or "no objective depends on who the users are"
    points = [(number, key) for number, run in enumerate(runs) for key in run.selected]
    if not points:
        return "no point is selected: none is better than the reference in every objective"
    answers = {
        (place, 0): {name: values[number][key] for name, values in found.items()}
        for place, (number, key) in enumerate(points)
    }
    places = tuple(
        tuple(place for place, (of, _) in enumerate(points) if of == number)
        for number in range(len(runs))
    )
    return OverUsers(answers, places, goals, objectives, left_out)


def _tables(runs: Sequence[Compared]) -> list[pd.DataFrame]:
    """Return the values per user of every run.

    Raises:
        _UnknownUsersError: If a run lacks some, or was measured on other users.
    """
    tables: list[pd.DataFrame] = []
    for run in runs:
        table = run.per_user()
        if table is None:
            raise _UnknownUsersError(f"{run.label} has no {PER_USER}")
        if tables and set(table["user"]) != set(tables[0]["user"]):
            raise _UnknownUsersError(f"{run.label} was measured on other users")
        if not set(run.selected) <= set(table["id"]):
            raise _UnknownUsersError(
                f"{run.label} has no values per user of some of its selected points"
            )
        tables.append(table)
    return tables


def _goal(axis: Axis) -> Goal:
    assert axis.reference is not None  # of a searched objective
    return Goal(axis.name, axis.maximise, axis.reference, axis.at_least, axis.at_most)


def _parsed(name: str) -> Objective:
    try:
        return parse(name)
    except BadRequestError:
        raise _UnknownUsersError(
            "it is not known here; name the plugin that registers it: pareto-rec --plugin MODULE"
        ) from None


def _is_resampled(objective: Objective) -> bool:
    """Return whether the value depends on who the users are."""
    return not isinstance(objective, SetObjective) or objective.of_users


def _values(
    objective: Objective,
    runs: Sequence[Compared],
    tables: Sequence[pd.DataFrame],
    users: Sequence[str],
) -> list[Values]:
    """Return what one objective of the selected points of each run is resampled from.

    Raises:
        _UnknownUsersError: If a run does not say it.
    """
    if not _is_resampled(objective):
        return [_measured(objective.name, run) for run in runs]
    if isinstance(objective, UserObjective):
        both = zip(runs, tables, strict=True)
        return [_per_user(objective.name, run, table, users) for run, table in both]
    found = [_set(objective.name, run) for run in runs]
    position = {user: number for number, user in enumerate(users)}
    for run, values in zip(runs, found, strict=True):
        _check_alike(run, values, found[0], position)
    return [values_of_set(values, position) for values in found]


def _measured(name: str, run: Compared) -> Values:
    front = run.view.front.set_index("id")[name]
    return {key: float(front[key]) for key in run.selected}


def _per_user(name: str, run: Compared, table: pd.DataFrame, users: Sequence[str]) -> Values:
    if name not in table:
        raise _UnknownUsersError(f"{run.label} has no values of it per user")
    chosen = table[table["id"].isin(run.selected)]
    wide = chosen.pivot(index="id", columns="user", values=name)[list(users)]
    return {key: wide.loc[key].to_numpy(dtype=np.float64) for key in run.selected}


def _set(name: str, run: Compared) -> SetValues:
    if run.sets is None:
        raise _UnknownUsersError(
            f"{run.label} has no {SETS}, as it was searched before runs kept what users are "
            "resampled from there; search it again"
        )
    if name not in run.sets:
        raise _UnknownUsersError(
            f"{run.label} does not say how it depends on users (`SetObjective.influence`)"
        )
    values = run.sets[name]
    if not set(run.selected) <= values.values.keys():
        raise _UnknownUsersError(f"{run.label} says nothing of it at some of its selected points")
    return values


def _check_alike(
    run: Compared, values: SetValues, first: SetValues, position: Mapping[str, int]
) -> None:
    everybody = values.group is not None or len(values.user) == len(position)
    if values.user != first.user or not (everybody and set(values.user) <= position.keys()):
        raise _UnknownUsersError(f"{run.label} was measured on other users")
    mine, theirs = (_groups(one) for one in (values, first))
    if not np.array_equal(mine, theirs) or values.minimum != first.minimum:
        raise _UnknownUsersError(f"{run.label} was measured with other groups")


def _groups(values: SetValues) -> NDArray[np.int64]:
    return np.zeros(0, np.int64) if values.group is None else values.group


def values_of_set(values: SetValues, position: Mapping[str, int]) -> Values:
    """Return what one set objective of each point is resampled from.

    Args:
        values: As a run keeps them.
        position: User id -> place of the user.

    Returns:
        Values by group; or, of an objective without groups, values in the order of the users.
    """
    user = np.array([position[one] for one in values.user], dtype=np.int64)
    if values.group is None:
        order = np.argsort(user)
        return {key: shown[order] for key, shown in values.values.items()}
    counts = values.group, values.groups, values.minimum
    return {key: GroupValues(own, user, *counts) for key, own in values.values.items()}
