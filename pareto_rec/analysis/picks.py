"""Picks of a run: from its files to the rules, and the history in picks.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.analysis.decide import (
    Bound,
    Mixture,
    Pick,
    Picker,
    Points,
    choose,
)
from pareto_rec.analysis.decide.points import Floats
from pareto_rec.core.checksums import is_whole, signed
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.paths import alone, swapped
from pareto_rec.objectives import UserObjective, parse
from pareto_rec.runs.files import check_file
from pareto_rec.runs.view import RunView

PICKS = "picks.json"
PER_USER = "per_user/front.parquet"

KEYS = {"at": str, "rule": str, "where": list, "objectives": dict, "reason": str}


def points_of(view: RunView, *, per_user: bool = False) -> Points:
    """Return the front of a run as the rules see it.

    Args:
        view: The run.
        per_user: Whether values per user are needed; they are read then.

    Raises:
        BadRequestError: If the front is empty, or the values per user cannot be read.
    """
    if view.front.empty:
        raise BadRequestError(
            f"the front of {view.path} is empty, so there is no point to pick: no record keeps "
            "the bounds of the config; search longer or relax them"
        )
    measured = [axis for axis in view.reported if axis.name in view.front]
    axes = (*view.axes, *measured)
    ids = tuple(str(point_id) for point_id in view.front["id"])
    return Points(
        ids,
        tuple(axis.name for axis in axes),
        view.front[[axis.name for axis in axes]].to_numpy(dtype=np.float64),
        tuple(axis.maximise for axis in axes),
        len(view.axes),
        _read_per_user(view, ids) if per_user else {},
        frozenset(axis.name for axis in axes if _is_mean(axis.name)),
    )


def _is_mean(name: str) -> bool:
    """Return whether an objective is a mean over users."""
    try:
        return isinstance(parse(name), UserObjective)
    except BadRequestError:  # an objective that this version does not know
        return False


def _read_per_user(view: RunView, ids: Sequence[str]) -> dict[str, Floats]:
    """Return values ``[points, users]`` of the searched objectives that have them."""
    from pyarrow import ArrowException, parquet

    path = view.path / PER_USER
    check_file(view.path, PER_USER, view.info)
    if not path.is_file():
        raise BadRequestError(
            f"{path} is missing, so nothing is known per user; pick with --utopia, or run the "
            "search again"
        )
    try:
        table = parquet.read_table(path)
        stored_ids = np.asarray(table["id"].to_pylist(), dtype=object)
        users = np.asarray(table["user"].to_pylist(), dtype=object)
        names = [axis.name for axis in view.axes if axis.name in table.column_names]
        columns = {name: np.asarray(table[name].to_numpy(), dtype=np.float64) for name in names}
    except (ArrowException, OSError, KeyError, ValueError) as error:
        raise _damaged(path, " ".join(str(error).split())) from None
    places: dict[str, list[int]] = {}
    for position, point_id in enumerate(stored_ids):
        places.setdefault(str(point_id), []).append(position)
    missing = [point_id for point_id in ids if point_id not in places]
    if missing:
        raise _damaged(path, f"it lacks point {missing[0]}")
    rows = [places[point_id] for point_id in ids]
    if any(len(row) != len(rows[0]) or (users[row] != users[rows[0]]).any() for row in rows):
        raise _damaged(path, "its points do not have the same users")
    order = np.array(rows)
    return {name: values[order] for name, values in columns.items()}


def _damaged(path: Path, reason: str) -> BadRequestError:
    return BadRequestError(f"{path} is damaged ({reason}); run the search again")


def pick(run: Path, picker: Picker, where: Sequence[Bound] = ()) -> Pick:
    """Pick a point of a run and write the pick into its history.

    Args:
        run: A run directory.
        picker: The rule, one of ``pareto_rec.analysis.decide.PICKERS``.
        where: Bounds that the point has to keep.

    Raises:
        BadRequestError: If the run cannot be read, or no point can be picked.
        RunFailedError: If the history cannot be written.
    """
    from pareto_rec.runs.reader import read_run

    points = points_of(read_run(run), per_user=picker.name == "per_user")
    choice = choose(points, picker, where)
    remember(run, entry_of(choice, picker, where))
    return choice


def entry_of(pick: Pick | Mixture, picker: Picker, where: Sequence[Bound]) -> dict[str, Any]:
    """Return a pick as the history keeps it.

    Args:
        pick: What was picked.
        picker: The rule; for a mixture, the one for its goal.
        where: The bounds.
    """
    options = {field.name: getattr(picker, field.name) for field in fields(picker)}  # type: ignore[arg-type]  # every rule is a dataclass
    single = isinstance(pick, Pick)
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "rule": picker.name if single else "mixture",
        "asked": {k: dict(v) if isinstance(v, Mapping) else v for k, v in options.items()},
        "where": [str(bound) for bound in where],
        "point": pick.id if isinstance(pick, Pick) else None,
        "mixture": pick.shares if isinstance(pick, Mixture) else None,
        "objectives": pick.objectives,
        "reason": pick.reason,
    }


def read_picks(run: Path) -> list[dict[str, Any]]:
    """Return the history of a run, oldest pick first; empty where there is none.

    Raises:
        BadRequestError: If the file is damaged.
    """
    path = run / PICKS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequestError(f"{path} cannot be read: {error}; move it away") from None
    try:
        content = json.loads(text)
        if is_whole(content) is False:
            raise ValueError("it is not what its checksum says: it was changed")
        picks = content["picks"]
        for number, entry in enumerate(picks, start=1):
            wrong = [key for key, kind in KEYS.items() if not isinstance(entry[key], kind)]
            if wrong:
                raise ValueError(f'pick {number}: "{wrong[0]}" has no value that fits')
        return list(picks)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadRequestError(
            f"{path} is damaged ({type(error).__name__}: {error}); mend it, or move it away to "
            "begin a new history"
        ) from None


def remember(run: Path, entry: Mapping[str, Any]) -> None:
    """Add a pick to the history, in one step: the file is complete even after a kill.

    Raises:
        BadRequestError: If the history is damaged; it is left as it is.
        RunFailedError: If it cannot be written.
    """
    path = run / PICKS
    with alone(run):
        picks = [*read_picks(run), dict(entry)]
        text = json.dumps(signed({"picks": picks}), indent=2, allow_nan=False) + "\n"
        try:
            with swapped(path) as part:
                part.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RunFailedError(
                f"{path} cannot be written: {error.strerror}; the history is as it was before"
            ) from error
