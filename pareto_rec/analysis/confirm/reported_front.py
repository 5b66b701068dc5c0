"""Reported front of a finished run: its selected points and their measured values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.inputs import EncodeProgress
from pareto_rec.runs.lines import RECORDS, read_entries
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.view import RunView
from pareto_rec.search.space import Candidate, Value

SEARCH = "search"  # name of the run's own front


@dataclass(frozen=True)
class Point:
    """A point of a front that is to be confirmed.

    Attributes:
        front: ``"search"`` or the name of a baseline.
        id: As in front.csv; of a baseline, its name and the number of the setting.
        train: Training variables that a network is trained with; None where none is.
        serve: Serving variables, natural values.
        claimed: Objective values that it was chosen by.
    """

    front: str
    id: str
    train: Mapping[str, Value] | None
    serve: Mapping[str, Any]  # values, or weights by name for a fusion
    claimed: Mapping[str, float]

    @property
    def train_id(self) -> str | None:
        """Points that share it share their fits; None where there is nothing to fit."""
        return None if self.train is None else Candidate(self.train, {}).train_id


@dataclass(frozen=True)
class ReportedFront:
    """A finished run, ready to be confirmed.

    Attributes:
        view: What its files say.
        experiment: Its experiment.
        points: The selected points of its front.
    """

    view: RunView
    experiment: Experiment
    points: tuple[Point, ...]

    @property
    def records(self) -> int:
        """Evaluated records, failed ones included: what every baseline gets as well."""
        return len(self.view.records)


def read_claim(
    run: Path, cache: Path | None = None, on_encoded: EncodeProgress | None = None
) -> ReportedFront:
    """Read the selected points of a run.

    Args:
        run: The run directory.
        cache: Root of the cache; None for the user's.
        on_encoded: Told how far the encoding of texts is.

    Raises:
        BadRequestError: If the run is damaged or has not finished, or no point is selected.
    """
    view = read_run(run)
    status = view.info.get("status")
    if status != "finished":
        raise BadRequestError(
            f"{run} has not finished (status: {status}); test data is opened once, for the front "
            "as the search leaves it: let the search end first"
        )
    experiment = Experiment.from_run(run, cache, on_encoded=on_encoded)
    chosen = view.front[view.front["selected"]]
    if chosen.empty:
        raise BadRequestError(
            f"{run / 'front.csv'} marks no point as selected: none is better than the reference "
            "in every objective, so there is nothing to confirm"
        )
    names = [one for one in (*view.names, *(axis.name for axis in view.reported)) if one in chosen]
    stored = {str(one["id"]): one for one in read_entries(run / RECORDS, view.info)}
    trains = experiment.variables.trains
    points = []
    for row in chosen.to_dict("records"):
        record = stored[str(row["id"])]
        candidate = Candidate(record["train"], record["serve"])
        train = candidate.train if trains else None
        claimed = {name: float(row[name]) for name in names}
        points.append(Point(SEARCH, str(row["id"]), train, candidate.serve, claimed))
    return ReportedFront(view, experiment, tuple(points))
