"""Confirmation of a run: confirm.json as one value, for plots, page and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.files import check_file, read_object

STAGES = ("validation", "test")
OWN = "search"  # name of the search's own front

Interval = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class ConfirmedPoint:
    """One point after training anew.

    Attributes:
        front: ``"search"``, or the baseline that it belongs to.
        id: As in front.csv, or of a baseline's setting.
        values: Stage -> objective -> mean over fresh seeds and its interval; without an interval
            both ends are the mean.
        non_dominated: Probability on test data among the confirmed points of its own front.
        non_dominated_all: The same among those of all fronts.
        dominated_by_any: Whether another front's or its own point is better on test, by means.
        feasible: Whether it keeps the bounds on test data, by means.
    """

    front: str
    id: str
    values: Mapping[str, Mapping[str, Interval]]
    non_dominated: float | None
    non_dominated_all: float | None
    dominated_by_any: bool
    feasible: bool


@dataclass(frozen=True)
class ConfirmedFront:
    """The confirmed points of one front together.

    Attributes:
        name: ``"search"``, an expert, or what a baseline is made of.
        says: What it is.
        records: How many records its points were chosen from.
        points: How many points.
        searched: Hypervolume by the values that they were chosen on, natural units.
        hypervolume: Stage -> hypervolume of means over fresh seeds, with interval.
        ratio: Stage -> the search's hypervolume divided by this one's, paired; only where known.
        kept: Share of the search's validation gain over this front that is left on test.
    """

    name: str
    says: str
    records: int
    points: int
    searched: float
    hypervolume: Mapping[str, Interval]
    ratio: Mapping[str, Interval]
    kept: Interval | None


@dataclass(frozen=True)
class Confirmed:
    """State of confirm.json.

    Attributes:
        opened: When test data was opened, first time first, ISO 8601.
        finished: Whether the last opening came to an end; else all that follows is empty.
        says: The answer in sentences, the headline first.
        level: Of all intervals, such as .95.
        seeds: Number of fresh seeds.
        best_baseline: The single baseline with the most hypervolume on validation data.
        fronts: The search's own, then the baselines'.
        points: Confirmed points of every front.
    """

    opened: tuple[str, ...]
    finished: bool
    says: tuple[str, ...] = ()
    level: float = 0.95
    seeds: int = 0
    best_baseline: str | None = None
    fronts: tuple[ConfirmedFront, ...] = ()
    points: tuple[ConfirmedPoint, ...] = ()

    @property
    def own(self) -> tuple[ConfirmedPoint, ...]:
        """Confirmed points of the search's own front."""
        return tuple(point for point in self.points if point.front == OWN)


def read_confirmed(path: Path) -> Confirmed | None:
    """Return what confirm.json says; ``None`` where test data was never opened.

    Raises:
        BadRequestError: If the file is there and damaged.
    """
    if not path.is_file():
        return None
    advice = "restore it, or run `pareto-rec confirm` again"
    content = read_object(path, advice)
    try:
        for name in content.get("files") or {}:
            check_file(path.parent, name, content, advice)
        return _confirmed(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRequestError(f"{path} is damaged ({error!r}); {advice}") from None


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
        fronts=tuple(_front(entry) for entry in content["fronts"]),
        points=tuple(_point(entry) for entry in content["points"]),
    )


def _front(entry: Mapping[str, Any]) -> ConfirmedFront:
    volume = entry["hypervolume"]
    return ConfirmedFront(
        name=str(entry["name"]),
        says=str(entry["says"]),
        records=int(entry["records"]),
        points=int(entry["points"]),
        searched=float(volume["search"]),
        hypervolume=_by_stage(volume),
        ratio=_by_stage(entry["ratio"] or {}),
        kept=None if entry["kept"] is None else _interval(entry["kept"], "value"),
    )


def _by_stage(entry: Mapping[str, Any]) -> dict[str, Interval]:
    entries = ((stage, entry.get(stage)) for stage in STAGES)
    return {
        stage: _interval(interval, "value") for stage, interval in entries if interval is not None
    }


def _point(entry: Mapping[str, Any]) -> ConfirmedPoint:
    values: dict[str, dict[str, Interval]] = {}
    for name, stages in (entry.get("values") or {}).items():
        for stage in STAGES:
            interval = stages.get(stage)
            if interval is not None and interval["mean"] is not None:
                values.setdefault(stage, {})[str(name)] = _interval(interval, "mean")
    return ConfirmedPoint(
        front=str(entry["front"]),
        id=str(entry["id"]),
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
