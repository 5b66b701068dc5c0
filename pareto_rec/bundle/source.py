"""A run directory with what it was computed from, and which of its points are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto_rec.analysis.picks import read_picks
from pareto_rec.baselines import BASELINES
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.lines import RECORDS, read_entries
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.view import RunView
from pareto_rec.training.fit_store import FitStore

if TYPE_CHECKING:
    from pareto_rec.training.data import Fit


@dataclass(frozen=True)
class Run:
    """A run directory with its experiment.

    Attributes:
        view: Its files.
        experiment: What it was searched on; read when asked for.
    """

    view: RunView
    experiment: Experiment

    @classmethod
    def read(cls, path: Path, cache: Path) -> Run:
        """Read a run directory; the data are not touched yet.

        Raises:
            BadRequestError: If it is not a run directory, or it is damaged.
        """
        return cls(read_run(path), Experiment.from_run(path, cache))

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.view.path

    def records(self) -> Mapping[tuple[str, str, int], Mapping[str, Any]]:
        """Successful records by id, fit and seed."""
        found = {}
        for record in read_entries(self.path / RECORDS, self.view.info):
            if record["status"] == "ok":
                found[record["id"], record["fit"], int(record["seed"])] = record
        return found

    def fits(self, ids: Sequence[str]) -> dict[str, Fit]:
        """Fits of the run by id.

        Raises:
            BadRequestError: If one is missing or damaged.
        """
        store, found = FitStore(self.path / "fits", ""), {}
        for fit_id in dict.fromkeys(ids):
            fit = store.get(fit_id)
            if fit is None:
                raise BadRequestError(
                    f"{store.path(fit_id)} is missing or damaged; search again (fits are cached, "
                    "none is trained twice) and export that run"
                )
            found[fit_id] = fit
        return found


def chosen_rows(run: Run, point: str | None, *, front: bool) -> tuple[list[dict[str, Any]], str]:
    """Rows of the front that go into the bundle, and the id of the one that answers by default.

    Args:
        run: The run.
        point: Id of a point, or the beginning of one; None: the latest pick.
        front: Whether the whole front is wanted; `point` then names the default.

    Raises:
        BadRequestError: If there is no such point, or none was named nor picked.
    """
    rows = run.view.front.to_dict("records")
    if not rows:
        raise BadRequestError(f"the front of {run.path} is empty; there is nothing to export")
    ids = [str(row["id"]) for row in rows]
    wanted = point or _latest_pick(run.path)
    if wanted is None and not front:
        raise BadRequestError(
            f"nothing was picked in {run.path}: name a point with --point ID, export the --front, "
            "or run pareto-rec pick first"
        )
    if wanted is None:
        selected = [str(row["id"]) for row in rows if row["selected"]]
        middle = selected or ids
        wanted = middle[len(middle) // 2]
    near = [id_ for id_ in ids if id_.startswith(wanted)]
    if wanted in near:
        near = [wanted]
    if len(set(near)) != 1:
        raise unknown("point of the front", wanted, ids)
    if front:
        return [{str(k): v for k, v in row.items()} for row in rows], near[0]
    return [{str(k): v for k, v in rows[ids.index(near[0])].items()}], near[0]


def check_exported(id_: str, members: Iterable[str]) -> None:
    """Refuse a point that fuses a baseline which no bundle can hold.

    Args:
        id_: Id of the point.
        members: Names of what it fuses.

    Raises:
        BadRequestError: If it does; names point and baseline.
    """
    for name in members:
        if name in BASELINES and not BASELINES[name].exported:
            raise BadRequestError(
                f'point {id_} fuses the baseline "{name}", whose model no bundle holds; choose a '
                "point without it, or search without it"
            )


def _latest_pick(path: Path) -> str | None:
    """The point that was picked last, if any."""
    found = read_picks(path)
    if not found:
        return None
    point = found[-1].get("point")
    if not isinstance(point, str) or not point:
        raise BadRequestError(
            f"the last pick of {path} is a mixture of points: name one with --point ID, or export "
            "the --front, which holds all of them"
        )
    return point
