"""What set objectives of a run are resampled from, in ``per_user/sets.parquet``.

A set objective has no value per user, so `per_user/front.parquet` says nothing of it: here stand
the influence values of the users, or the values of an objective over groups with the group of each.
Only the selected points have them, since only these are compared.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.files import check_file

FILE = "per_user/sets.parquet"
FORMAT = 1
_ABOUT, _POINT, _NO_GROUP = b"pareto_rec", "value.", -1
_ADVICE = "remove it to compare without these objectives, or search again"


@dataclass(frozen=True)
class SetValues:
    """What one set objective is resampled from.

    Attributes:
        user: Id of the user of each entry ``[entries]``.
        values: Point id -> values ``[entries]``: of an objective over groups those of its base
            objective, of any other its value plus the influence values of the users.
        group: Group of each entry ``[entries]``; None for an objective without groups.
        groups: How many groups there are.
        minimum: Groups with fewer measured entries are left out.
    """

    user: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    group: NDArray[np.int64] | None = None
    groups: int = 0
    minimum: int = 0


def table_of(by_objective: Mapping[str, SetValues]) -> bytes:
    """Return a Parquet file with one row per objective and entry.

    Args:
        by_objective: Objective -> its values at the same points.

    Returns:
        Columns ``objective``, ``user``, ``group`` (-1 for an objective without groups) and one per
        point; in the metadata the format, and how many groups of how many users there are.
    """
    import pyarrow as pa
    from pyarrow import parquet

    sets = by_objective.values()
    points = list(dict.fromkeys(point for one in sets for point in one.values))
    names = [name for name, one in by_objective.items() for _ in one.user]
    columns: dict[str, Any] = {
        "objective": pa.array(names, pa.string()).dictionary_encode(),
        "user": pa.array([user for one in sets for user in one.user], pa.string()),
        "group": pa.array(_joined([_groups(one) for one in sets], np.int64), pa.int32()),
    }
    for point in points:
        parts = [one.values.get(point, np.full(len(one.user), np.nan)) for one in sets]
        columns[f"{_POINT}{point}"] = pa.array(_joined(parts, np.float64))
    about = {
        "format": FORMAT,
        "objectives": {
            name: {
                "groups": one.groups,
                "minimum": one.minimum,
                "is_grouped": one.group is not None,
            }
            for name, one in by_objective.items()
        },
    }
    table = pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(about)})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _groups(values: SetValues) -> NDArray[np.int64]:
    return np.full(len(values.user), _NO_GROUP) if values.group is None else values.group


def _joined(parts: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts])


def read_set_values(run: Path, info: Mapping[str, Any]) -> Mapping[str, SetValues] | None:
    """Return what set objectives of a run are resampled from; None where the run has no such file.

    Args:
        run: The run directory.
        info: Content of its run.json, which holds the file's checksum.

    Raises:
        BadRequestError: If the file is damaged, or of another format.
    """
    from pyarrow import parquet

    path = run / FILE
    if not path.is_file():
        return None
    check_file(run, FILE, info)
    try:
        table = parquet.read_table(path)
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        if about["format"] == FORMAT:
            return {name: _of(table, name, one) for name, one in about["objectives"].items()}
    except Exception as error:  # the Parquet reader raises errors of many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadRequestError(f"{path} is damaged ({reason}); {_ADVICE}") from None
    raise BadRequestError(
        f"{path} has format {about['format']}, and this version reads format {FORMAT}; {_ADVICE}"
    )


def _of(table: Any, name: str, about: Mapping[str, Any]) -> SetValues:
    rows = np.flatnonzero(table["objective"].to_numpy() == name)
    points = [column for column in table.column_names if column.startswith(_POINT)]
    return SetValues(
        tuple(table["user"].to_numpy()[rows].tolist()),
        {point.removeprefix(_POINT): table[point].to_numpy()[rows] for point in points},
        table["group"].to_numpy()[rows].astype(np.int64) if about["is_grouped"] else None,
        int(about["groups"]),
        int(about["minimum"]),
    )
