"""Per-user objective values of the front's points, in ``per_user/front.parquet``.

Beside them, in ``per_user/users.parquet``, stands how much was known of each user, and in
``per_user/sets.parquet`` what searched set objectives are resampled from (`runs.set_values`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.history_length import HISTORY_LENGTH, with_history_length
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.measurement import ObjectiveSet, ValuesByUser
from pareto_rec.execution.coverage import Counts, described_in, lacking
from pareto_rec.objectives import GroupValues, SetObjective, UserObjective
from pareto_rec.runs.record import Record
from pareto_rec.runs.set_values import SetValues

FILE = "per_user/front.parquet"
PEOPLE = "per_user/users.parquet"

Values = Mapping[str, NDArray[np.float64]]


class Measured(NamedTuple):
    """What was measured of one point's lists.

    Attributes:
        values: Per-user objective -> values ``[users]``.
        described: Objective that reads what some items lack -> how many of the listed items, or of
            their pairs, had it, of how many.
    """

    values: Values
    described: Counts


def measured_of(
    evaluator: Evaluator, records: Sequence[Record], _: Path
) -> list[tuple[str, Measured]]:
    """Return what was measured of the lists of some records, by record id; they are made once.

    Args:
        evaluator: Of the stage that the records were measured on.
        records: Records of the same fits.
    """
    own = evaluator.measuring
    by_user = [one for one in own.measures.all if isinstance(one, UserObjective)]
    absent = lacking(own.measures, own.catalogue)
    reading = [one for one in own.measures.all if one.name in absent]
    return [
        (
            record.id,
            Measured(
                {objective.name: objective.per_user(outcome) for objective in by_user},
                described_in(outcome, reading),
            ),
        )
        for record, outcome in zip(records, own.outcomes(*evaluator.fused(records)), strict=True)
    ]


def sets_over_users(measures: ObjectiveSet) -> list[SetObjective]:
    """Return the searched set objectives whose value depends on who the users are."""
    return [one for one in measures.searched if isinstance(one, SetObjective) and one.of_users]


def influence_of(
    evaluator: Evaluator, records: Sequence[Record], _: Path
) -> list[tuple[str, dict[str, ValuesByUser]]]:
    """Return what the searched set objectives of some records are resampled from, by record id.

    Objectives of which that is not known (`SetObjective.influence`) are left out.

    Args:
        evaluator: Of the stage that the records were measured on.
        records: Records of the same fits.
    """
    own = evaluator.measuring
    found = own.by_user(*evaluator.fused(records), objectives=sets_over_users(own.measures))
    return [
        (record.id, {name: one for name, one in values.items() if not isinstance(one, float)})
        for record, values in zip(records, found, strict=True)
    ]


def set_values(
    measured: Sequence[tuple[str, Mapping[str, ValuesByUser]]], users: Sequence[str]
) -> dict[str, SetValues]:
    """Return what `runs.set_values` writes, from what `influence_of` found.

    Objectives that are not known of every point are left out.

    Args:
        measured: Record id and what its objectives are resampled from.
        users: Original ids of the users.
    """
    names = list(dict.fromkeys(name for _, values in measured for name in values))
    known = [name for name in names if all(name in values for _, values in measured)]
    return {name: _set_of({key: one[name] for key, one in measured}, users) for name in known}


def _set_of(by_record: Mapping[str, ValuesByUser], users: Sequence[str]) -> SetValues:
    """Return one objective's values; who is in which group is the same for all records."""
    first = next(iter(by_record.values()))
    if not isinstance(first, GroupValues):
        shown = {key: np.asarray(one) for key, one in by_record.items()}
        return SetValues(tuple(users), shown)
    grouped = {key: one.values for key, one in by_record.items() if isinstance(one, GroupValues)}
    people = tuple(users[user] for user in first.user.tolist())
    return SetValues(people, grouped, first.group, first.groups, first.minimum)


def table_of(values_by_record: Sequence[tuple[str, Values]], users: Sequence[str]) -> bytes:
    """Return a Parquet file with one row per point and user.

    Args:
        values_by_record: Record id and its values ``[users]`` by objective.
        users: Original ids of the users.

    Returns:
        Columns ``id``, ``user`` and one per objective; NaN for users that an objective leaves out.
    """
    import pyarrow as pa

    names = list(dict.fromkeys(name for _, values in values_by_record for name in values))
    columns: dict[str, pa.Array] = {
        "id": pa.array([key for key, _ in values_by_record for _ in users], pa.string()),
        "user": pa.array(list(users) * len(values_by_record), pa.string()),
    }
    for name in names:
        missing = np.full(len(users), np.nan)
        parts = [values.get(name, missing) for _, values in values_by_record]
        columns[name] = pa.array(np.concatenate([missing[:0], *parts]))
    return _written(columns)


def people_of(stage: Stage) -> bytes:
    """Return a Parquet file with one row per user.

    Args:
        stage: What the records were measured on.

    Returns:
        Columns ``user``, ``history`` (rows that lists are made from) and ``history_length``, the
        group of `with_history_length` (or the data set's own attribute of that name).
    """
    import pyarrow as pa

    users = with_history_length(stage.users, stage.history)
    counts = np.bincount(stage.history.user, minlength=len(users))
    return _written(
        {
            "user": pa.array(users.ids, pa.string()),
            "history": pa.array(counts, pa.int64()),
            HISTORY_LENGTH: pa.array(users.attributes[HISTORY_LENGTH], pa.string()),
        }
    )


def _written(columns: Mapping[str, Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.table(dict(columns)), buffer, compression="zstd")
    return buffer.getvalue()
