"""Reported front of a finished run: its selected points and their measured values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.inputs import EncodeProgress
from pareto_rec.ranking import NETWORK
from pareto_rec.runs.lines import RECORDS, read_entries
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.record import fit_ids
from pareto_rec.runs.view import RunView
from pareto_rec.search.space import Candidate, Value

SEARCH = "search"  # name of the run's own front


class TrainingKey(NamedTuple):
    """Key of fits to make; points that share it share these fits.

    Attributes:
        train_id: Id of the training variables.
        copy: Number among the networks of one point that have the same training variables.
    """

    train_id: str
    copy: int = 0


@dataclass(frozen=True)
class Point:
    """A point of a front that is to be confirmed.

    Attributes:
        front: ``"search"`` or the name of an opponent.
        id: As in front.csv; of an opponent, the id of its setting.
        networks: Name of a network in the fusion -> the training variables that it is trained
            with; empty where there is none.
        serve: Serving variables, natural values.
        claimed: Objective values that it was chosen by.
    """

    front: str
    id: str
    networks: Mapping[str, Mapping[str, Value]]
    serve: Mapping[str, Any]  # values, or weights by name for a fusion
    claimed: Mapping[str, float]

    @property
    def trainings(self) -> dict[str, TrainingKey]:
        """Name of a network in the fusion -> what it is trained with, and which copy of that.

        Networks of one point with the same training variables were trained with different seeds:
        they are copies, numbered from 0 in the order of their names, each with seeds of its own.
        """
        keys: dict[str, TrainingKey] = {}
        for name in sorted(self.networks):
            train_id = Candidate(self.networks[name], {}).train_id
            copies = sum(train_id == other.train_id for other in keys.values())
            keys[name] = TrainingKey(train_id, copies)
        return keys


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
        """Evaluated records, failed ones included: every opponent gets as many settings."""
        return len(self.view.records)

    @property
    def fits(self) -> int:
        """Fits that the search trained, stopped and failed ones included."""
        return len({name for fits in self.view.records["fit"] for name in fit_ids(str(fits))})


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
    trained = _trained(experiment, stored.values())
    points = []
    for row in chosen.to_dict("records"):
        record = stored[str(row["id"])]
        candidate = Candidate(record["train"], record["serve"])
        claimed = {name: float(row[name]) for name in names}
        networks = _networks(experiment, record, trained, run / RECORDS)
        points.append(Point(SEARCH, str(row["id"]), networks, candidate.serve, claimed))
    return ReportedFront(view, experiment, tuple(points))


Trained = Mapping[str, Mapping[str, Value]]
"""Fit id -> the training variables that it was trained with."""


def _names_network(experiment: Experiment, record: Mapping[str, Any]) -> bool:
    """Return whether a record is a candidate's, whose one fit its fusion calls the network."""
    serve = Candidate({}, record["serve"]).serve
    return NETWORK in experiment.variables.serving(serve).fusion


def _trained(experiment: Experiment, records: Iterable[Mapping[str, Any]]) -> Trained:
    """Return the training variables of every fit, by the records of its candidates."""
    return {
        record["fit"]: Candidate(record["train"], {}).train
        for record in records
        if _names_network(experiment, record)
    }


def _networks(
    experiment: Experiment, record: Mapping[str, Any], trained: Trained, path: Path
) -> Trained:
    """Return the networks that a record's lists fuse, by their names in the fusion.

    Raises:
        BadRequestError: If the records do not say how one of several fits was trained.
    """
    if _names_network(experiment, record):
        return {NETWORK: Candidate(record["train"], {}).train}
    lost = [fit_id for fit_id in fit_ids(record["fit"]) if fit_id not in trained]
    if lost:
        raise BadRequestError(
            f"{path}: point {record['id']} fuses the fit {lost[0]}, of which there is no record "
            "that says how it was trained; search again"
        )
    return {fit_id: trained[fit_id] for fit_id in fit_ids(record["fit"])}
