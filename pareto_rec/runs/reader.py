"""Reader of run directories: files to a RunView; damage is reported with file and line."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.confirmation import JSON, read_confirmed
from pareto_rec.runs.files import (
    check_file,
    read_controls,
    read_info,
    read_lists,
    read_text,
)
from pareto_rec.runs.lines import RECORDS, not_a_record, read_entries
from pareto_rec.runs.record import without_fits
from pareto_rec.runs.view import Axis, Hypervolumes, RunView

if TYPE_CHECKING:
    import pandas as pd

RECORD_KEYS = ("id", "fit", "seed", "generation", "position", "status", "objectives")
FRONT_KEYS = ("id", "selected", "fit", "seed")
BASELINE_KEYS = ("expert", "id", "on_front")
_WRITTEN = "it was changed: put it back from a copy, or search with --resume, which writes it anew"


def read_run(path: Path) -> RunView:
    """Read a run directory.

    Args:
        path: ``results/<experiment>/<run>``.

    Raises:
        BadRequestError: If it is not a run directory, or a file is missing or damaged.
    """
    info = read_info(path)
    axes, reported = axes_of(info, path / "run.json")
    names = [axis.name for axis in (*axes, *reported)]
    baseline_rows = _read_csv(path / "baselines.csv", BASELINE_KEYS, axes, names)
    front, records = read_front(path, axes, names, lambda: read_entries(path / RECORDS, info))
    for name in ("config.toml", "front.csv", "baselines.csv", "lists.json"):
        check_file(path, name, info)
    return RunView(
        path=path,
        info=info,
        hypervolumes=_hypervolumes(info, path / "run.json"),
        axes=axes,
        reported=reported,
        records=records,
        front=front,
        baselines=_flagged(_frame(baseline_rows, names), "on_front"),
        controls=read_controls(path / "controls.json"),
        confirmed=read_confirmed(path / JSON),
        lists=read_lists(path / "lists.json"),
    )


def read_front(
    path: Path,
    axes: Sequence[Axis],
    names: Sequence[str],
    entries: Callable[[], Sequence[Mapping[str, Any]]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the front and the records of a run, the one held against the other.

    Args:
        path: The run directory.
        axes: The searched objectives.
        names: Of these and of those that are reported.
        entries: Reads the records, after the front, which may be older than they.

    Raises:
        BadRequestError: If a file is damaged, or the front does not say what its records say.
    """
    rows = _read_csv(path / "front.csv", FRONT_KEYS, axes, names)
    records = _records_frame(path / RECORDS, entries(), names, rows.header)
    return _front_frame(rows, names, records, path / "front.csv"), records


def axes_of(info: Mapping[str, Any], path: Path) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """Return the searched objectives and those that are reported beside them.

    Args:
        info: Content of run.json.
        path: Its name.

    Raises:
        BadRequestError: If they are damaged, or fewer than two are searched.
    """
    axes = _axes(info, "objectives", path)
    searched = {axis.name for axis in axes}
    reported = _axes(info, "reported", path)
    return axes, tuple(axis for axis in reported if axis.name not in searched)


@dataclass(frozen=True)
class _Rows:
    header: list[str]
    rows: list[list[str]]
    lines: list[int]


def _axes(info: Mapping[str, Any], key: str, path: Path) -> tuple[Axis, ...]:
    searched = key == "objectives"
    try:
        axes = tuple(
            Axis(
                name=str(entry["name"]),
                maximise=bool(entry["maximise"]),
                unit=str(entry.get("unit", "1")),
                reference=float(entry["reference"]) if searched else None,
                at_least=_number(entry.get("at_least")),
                at_most=_number(entry.get("at_most")),
            )
            for entry in info.get(key, ())
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRequestError(
            f'{path}: "{key}" is damaged ({error}); run the search again'
        ) from None
    if searched and len(axes) < 2:
        raise BadRequestError(f'{path}: "objectives" must list at least two; run the search again')
    return axes


def _hypervolumes(info: Mapping[str, Any], path: Path) -> Hypervolumes:
    entry = info.get("hypervolume") or {}
    try:
        return Hypervolumes(
            front=_number(entry.get("front")),
            experts={str(k): float(v) for k, v in (entry.get("baselines") or {}).items()},
            all_baselines=_number(entry.get("all_baselines")),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise BadRequestError(
            f'{path}: "hypervolume" is damaged ({error}); run the search again'
        ) from None


def _number(value: Any) -> float | None:  # Any: JSON
    return None if value is None else float(value)


def _read_csv(path: Path, keys: Sequence[str], axes: Sequence[Axis], names: Sequence[str]) -> _Rows:
    """Return rows of a CSV file; each as long as the header, with a number for every objective."""
    reader = csv.reader(read_text(path).splitlines())
    header = next(reader, [])
    missing = [key for key in (*keys, *(axis.name for axis in axes)) if key not in header]
    if missing:
        raise BadRequestError(f'{path}, line 1: no column "{missing[0]}"; run the search again')
    searched = {header.index(axis.name) for axis in axes}
    measured = {header.index(name) for name in names if name in header}
    rows, lines = [], []
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if len(row) != len(header):
            raise BadRequestError(
                f"{where}: {len(row)} values for {len(header)} columns; run the search again"
            )
        for column in sorted(measured):
            number = _as_float(row[column]) if row[column] else math.nan
            if number is None or (column in searched and not math.isfinite(number)):
                raise BadRequestError(
                    f'{where}: "{row[column]}" is not a value of {header[column]}; '
                    "run the search again"
                )
        rows.append(row)
        lines.append(reader.line_num)
    return _Rows(header, rows, lines)


def _as_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _frame(table: _Rows, names: Sequence[str]) -> pd.DataFrame:
    """Type the columns: objectives float64, variables float64 where all values are, else text."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for column, name in enumerate(table.header):
        cells = [row[column] for row in table.rows]
        floats = [_as_float(cell) if cell else float("nan") for cell in cells]
        if name in names or (name.startswith(("train.", "serve.")) and None not in floats):
            columns[name] = np.array(floats, dtype=np.float64)
        else:
            columns[name] = np.array(cells, dtype=object)
    return pd.DataFrame(columns)


def _flagged(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].isin(["1", "True", "true"]).to_numpy(dtype=bool)})


def _front_frame(
    table: _Rows, names: Sequence[str], records: pd.DataFrame, path: Path
) -> pd.DataFrame:
    """Return the front, its variables taken from the records, where they have types."""
    frame = _flagged(_frame(table, names), "selected")
    frame = frame[[*FRONT_KEYS, *(name for name in names if name in frame)]]
    seeds = [int(seed) if seed.isdigit() else -1 for seed in frame["seed"]]
    keys = zip(records["id"], records["seed"], strict=True)
    rows = {key: row for row, key in reversed(list(enumerate(keys)))}
    places: list[int] = []
    for line, key in zip(table.lines, zip(frame["id"], seeds, strict=True), strict=True):
        if key not in rows:
            raise BadRequestError(
                f'{path}, line {line}: point "{key[0]}" is not in records.jsonl; '
                "the run is damaged, run the search again"
            )
        if rows[key] in places:
            raise BadRequestError(f'{path}, line {line}: it repeats point "{key[0]}"; {_WRITTEN}')
        places.append(rows[key])
    _hold_against(records.iloc[places], frame, [*names, "fit"], table.lines, path)
    variables = [name for name in records if str(name).startswith(("train.", "serve."))]
    typed = records.iloc[places][variables].reset_index(drop=True)
    return frame.assign(seed=seeds).join(typed)


def _hold_against(
    records: pd.DataFrame,
    front: pd.DataFrame,
    names: Sequence[str],
    lines: Sequence[int],
    path: Path,
) -> None:
    """Refuse a front that says something else than its records."""
    for name in (one for one in names if one in front):
        stated, known = front[name].to_numpy(), records[name].to_numpy()
        same = (stated == known) | ((stated != stated) & (known != known))
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            raise BadRequestError(
                f"{path}, line {lines[row]}: {name} is {stated[row]}, and {known[row]} in "
                f"records.jsonl; {_WRITTEN}"
            )


def _records_frame(
    path: Path,
    entries: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    front_header: Sequence[str],
) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for number, entry in enumerate(entries, start=1):
        try:
            rows.append(_record_row(entry, names, front_header))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise not_a_record(path, number, f"it lacks or misstates {error}") from None
    frame = pd.DataFrame(rows)
    if frame.empty:
        raise BadRequestError(f"{path} holds no record yet; wait for the search's first fits")
    variables = [name for name in frame if str(name).startswith(("train.", "serve."))]
    fixed = [name for name in frame if name not in variables]
    order = frame.sort_values(["generation", "position"], kind="stable")
    variables.sort(key=lambda name: (not str(name).startswith("train."), str(name)))
    return order[fixed + variables].reset_index(drop=True)


def _record_row(
    entry: Mapping[str, Any], names: Sequence[str], front_header: Sequence[str]
) -> dict[str, Any]:
    absent = [key for key in RECORD_KEYS if key not in entry]
    if absent:
        raise KeyError(absent[0])
    row: dict[str, Any] = {
        "id": str(entry["id"]),
        "fit": str(entry["fit"]),
        "seed": int(entry["seed"]),
        "generation": int(entry["generation"]),
        "position": int(entry["position"]),
        "origin": entry.get("origin", "own"),
        "status": entry["status"],
        "reason": entry.get("reason"),
        "elapsed_s": float((entry.get("timing") or {}).get("elapsed_s", "nan")),
    }
    values = entry["objectives"]
    row |= {name: np.nan if values.get(name) is None else float(values[name]) for name in names}
    serve = without_fits(entry.get("serve") or {}, row["fit"])
    for stage, variables in (("train", entry.get("train") or {}), ("serve", serve)):
        for name, value in variables.items():
            row |= _columns(f"{stage}.{name}", value, front_header)
    return row


def _columns(name: str, value: Any, front_header: Sequence[str]) -> dict[str, Any]:
    """Return a scalar as it is; parts of a vector or table as columns, as front.csv names them."""
    if isinstance(value, dict):
        return {f"{name}.{part}": weight for part, weight in value.items()}
    if not isinstance(value, list | tuple):
        return {name: value}
    named = [column for column in front_header if column.startswith(f"{name}.")]
    if len(named) != len(value):
        named = [f"{name}.{part}" for part in range(1, len(value) + 1)]
    return dict(zip(named, value, strict=True))
