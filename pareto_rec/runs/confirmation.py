"""Confirmation of a run: whoever reads confirm.json or confirm.csv does it here.

As one value for plots, page and notebooks, as JSON for what is printed, as the ledger of openings
for what writes it, and as the table of test values that goes along into a bundle.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pareto_rec.core.checksums import KEY, is_whole
from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.files import check_file, read_object

JSON, CSV = "confirm.json", "confirm.csv"  # of a run directory
DRAWS = "confirm_draws.npz"  # hypervolumes on test data under every draw, by kind of front
STAGES = ("validation", "test")
OWN = "search"  # name of the search's own front

_ADVICE = "restore it, or run `pareto-rec confirm` again"

Interval = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class ConfirmedPoint:
    """One point after training anew.

    Attributes:
        front: ``"search"``, or the opponent that it belongs to.
        id: As in front.csv, or of an opponent's setting.
        searched: Objective -> value that it was chosen by, before it was trained anew.
        values: Stage -> objective -> mean over fresh seeds and its interval; without an interval
            both ends are the mean.
        non_dominated: Probability on test data among the confirmed points of its own front.
        non_dominated_all: The same among those of all fronts.
        dominated_by_any: Whether another front's or its own point is better on test, by means.
        feasible: Whether it keeps the bounds on test data, by means.
    """

    front: str
    id: str
    searched: Mapping[str, float]
    values: Mapping[str, Mapping[str, Interval]]
    non_dominated: float | None
    non_dominated_all: float | None
    dominated_by_any: bool
    feasible: bool


@dataclass(frozen=True)
class ConfirmedFront:
    """The confirmed points of one front together.

    Attributes:
        name: ``"search"``, or the opponent's.
        says: What it is.
        records: How many records its points were chosen from.
        points: How many points.
        searched: Hypervolume by the values that they were chosen on, natural units.
        hypervolume: Stage -> hypervolume of means over fresh seeds, with interval.
        ratio: Stage -> the search's hypervolume divided by this one's, paired; only where known.
        kept: Share of the search's validation gain over this front that is left on test.
        share_of_box: ``"search"`` and stages -> hypervolume as a share of the box from the
            reference to the best values, with interval; empty in older files.
        p_holm: P-value of an equal hypervolume on test data, corrected for the opponents.
        fixed: The first objective on test data at fixed values of the others, where known.
    """

    name: str
    says: str
    records: int
    points: int
    searched: float
    hypervolume: Mapping[str, Interval]
    ratio: Mapping[str, Interval]
    kept: Interval | None
    share_of_box: Mapping[str, Interval] = field(default_factory=dict)
    p_holm: float | None = None
    fixed: Interval | None = None


@dataclass(frozen=True)
class Confirmed:
    """State of confirm.json.

    Attributes:
        opened: When test data was opened, first time first, ISO 8601.
        finished: Whether the last opening came to an end; else all that follows is empty.
        says: The answer in sentences, the headline first.
        level: Of all intervals, such as .95.
        seeds: Number of fresh seeds.
        best_baseline: The single opponent with the most hypervolume on test data.
        fronts: The search's own, then the opponents'.
        points: Confirmed points of every front.
        void: Why it confirms nothing, in one sentence; empty where it may.
        before: How often any run had opened the same test data before; None where nobody knows.
    """

    opened: tuple[str, ...]
    finished: bool
    says: tuple[str, ...] = ()
    level: float = 0.95
    seeds: int = 0
    best_baseline: str | None = None
    fronts: tuple[ConfirmedFront, ...] = ()
    points: tuple[ConfirmedPoint, ...] = ()
    void: str = ""
    before: int | None = None

    @property
    def own(self) -> tuple[ConfirmedPoint, ...]:
        """Confirmed points of the search's own front."""
        return tuple(point for point in self.points if point.front == OWN)

    @property
    def strongest(self) -> ConfirmedFront | None:
        """The front of the strongest opponent, if any is worth anything."""
        return next((one for one in self.fronts if one.name == self.best_baseline), None)

    @property
    def opponents(self) -> dict[str, tuple[ConfirmedPoint, ...]]:
        """Confirmed points of every opponent that has some, by its name."""
        names = dict.fromkeys(point.front for point in self.points if point.front != OWN)
        return {
            name: tuple(point for point in self.points if point.front == name) for name in names
        }


@dataclass(frozen=True)
class ConfirmedValues:
    """Values of one point on test data.

    Attributes:
        means: Objective -> mean over fresh seeds.
        intervals: Objective -> lower and upper end; only where there is an interval.
        non_dominated: Probability that no other confirmed point of the front dominates it.
    """

    means: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    non_dominated: float | None = None


def read_confirmed(path: Path) -> Confirmed | None:
    """Return what confirm.json says; ``None`` where test data was never opened.

    Raises:
        BadRequestError: If the file is there and damaged.
    """
    content = read_content(path)
    if content is None:
        return None
    try:
        for name in content.get("files") or {}:
            check_file(path.parent, name, content, _ADVICE)
        return _confirmed(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRequestError(f"{path} is damaged ({error!r}); {_ADVICE}") from None


def read_content(path: Path) -> Mapping[str, Any] | None:
    """Return confirm.json as it is; ``None`` where test data was never opened.

    Raises:
        BadRequestError: If the file is there, and no JSON or not what its checksum says.
    """
    return read_object(path, _ADVICE) if path.is_file() else None


def void_of(run: Path) -> str:
    """Return why the confirmation of a run confirms nothing; empty where it may, or has not run.

    Raises:
        BadRequestError: If confirm.json is damaged.
    """
    return str((read_content(run / JSON) or {}).get("void", ""))


def read_ledger(path: Path) -> dict[str, Any]:
    """Return confirm.json without its checksum, to be written again with one opening more.

    Nothing but its openings need be whole: a confirmation that was stopped has nothing else.

    Raises:
        BadRequestError: If the file is there and damaged.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if is_whole(content) is not False and all("at" in opening for opening in content["opened"]):
            return {key: value for key, value in content.items() if key != KEY}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise BadRequestError(
        f"{path} is damaged; it holds when test data was opened: restore it, or move it away "
        "and say so wherever the results are shown"
    )


def read_confirmed_values(path: Path) -> dict[str, ConfirmedValues]:
    """Return the test values of the search's own points by id; empty before ``confirm`` has run.

    Args:
        path: confirm.csv, of a run or of a bundle.

    Raises:
        BadRequestError: If the file is there and damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                row["id"]: _values(row)
                for row in csv.DictReader(file, strict=True)
                if row["front"] == OWN
            }
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise BadRequestError(
            f"{path} is damaged ({type(error).__name__}: {error}); run `pareto-rec confirm` again"
        ) from None


def _values(row: Mapping[str, str]) -> ConfirmedValues:
    means, intervals = {}, {}
    for column, cell in row.items():
        name = column.removeprefix("test.")
        if name == column or not cell or name.endswith((".sd", ".low", ".high", ".bias")):
            continue
        means[name] = float(cell)
        low, high = row[f"{column}.low"], row[f"{column}.high"]
        if low and high:
            intervals[name] = float(low), float(high)
    chance = row["p_non_dominated"]
    return ConfirmedValues(means, intervals, float(chance) if chance else None)


def _confirmed(content: Mapping[str, Any]) -> Confirmed:
    opened = tuple(str(entry["at"]) for entry in content["opened"])
    if content["status"] != "finished":
        return Confirmed(opened, finished=False)
    return Confirmed(
        opened,
        finished=True,
        says=tuple(str(sentence) for sentence in content["answer"]["says"]),
        level=float(content["level"]),
        seeds=len(content["seeds"]),
        best_baseline=content["best_baseline"],
        fronts=tuple(_front(entry, _fixed(content)) for entry in content["fronts"]),
        points=tuple(_point(entry) for entry in content["points"]),
        void=str(content.get("void", "")),
        before=int(content["earlier"]["times"]) if "earlier" in content else None,
    )


def _fixed(content: Mapping[str, Any]) -> dict[str, Interval]:
    """Front -> the first objective at fixed values of the others; empty in older files."""
    rows = (content.get("at_fixed") or {}).get("fronts", ())
    return {
        str(row["name"]): _interval(row["value"], "value")
        for row in rows
        if row["value"] is not None and row["value"]["value"] is not None
    }


def _front(entry: Mapping[str, Any], fixed: Mapping[str, Interval]) -> ConfirmedFront:
    volume = entry["hypervolume"]
    share = dict(entry.get("share_of_box") or {})
    claimed = share.pop(OWN, None)
    return ConfirmedFront(
        name=str(entry["name"]),
        says=str(entry["says"]),
        records=int(entry["records"]),
        points=int(entry["points"]),
        searched=float(volume["search"]),
        hypervolume=_by_stage(volume),
        ratio=_by_stage(entry["ratio"] or {}),
        kept=None if entry["kept"] is None else _interval(entry["kept"], "value"),
        share_of_box=_by_stage(share) | ({} if claimed is None else {OWN: (float(claimed),) * 3}),
        p_holm=_share(entry.get("p_holm")),
        fixed=fixed.get(str(entry["name"])),
    )


def _by_stage(entry: Mapping[str, Any]) -> dict[str, Interval]:
    entries = ((stage, entry.get(stage)) for stage in STAGES)
    return {
        stage: _interval(interval, "value") for stage, interval in entries if interval is not None
    }


def _point(entry: Mapping[str, Any]) -> ConfirmedPoint:
    values: dict[str, dict[str, Interval]] = {}
    measured = entry.get("values") or {}
    searched = {str(name): stages.get("search") for name, stages in measured.items()}
    for name, stages in measured.items():
        for stage in STAGES:
            interval = stages.get(stage)
            if interval is not None and interval["mean"] is not None:
                values.setdefault(stage, {})[str(name)] = _interval(interval, "mean")
    return ConfirmedPoint(
        front=str(entry["front"]),
        id=str(entry["id"]),
        searched={name: float(value) for name, value in searched.items() if value is not None},
        values=values,
        non_dominated=_share(entry["p_non_dominated"]),
        non_dominated_all=_share(entry["p_non_dominated_all"]),
        dominated_by_any=bool(entry["dominated_by_any"]),
        feasible=bool(entry["feasible"]),
    )


def _interval(entry: Mapping[str, Any], middle: str) -> Interval:
    value = float(entry[middle])
    ends: Sequence[float | None] = (entry["low"], entry["high"])
    low, high = (value if end is None else float(end) for end in ends)
    return value, low, high


def _share(value: float | None) -> float | None:
    return None if value is None else float(value)
