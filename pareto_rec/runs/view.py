"""View of a finished or running run as one frozen value, for plots and report page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.runs.confirmation import Confirmed

if TYPE_CHECKING:
    import pandas as pd

ACRONYMS = {"ndcg", "ild", "epc", "mrr", "map", "auc"}


def _spelled(word: str) -> str:
    return word.upper() if word in ACRONYMS else word


@dataclass(frozen=True)
class Axis:
    """One objective as a plot needs it.

    Attributes:
        name: As written in the config.
        maximise: Whether larger is better.
        unit: Unit of the value, ``"1"`` for a share or a gain.
        reference: Reference value of the hypervolume; ``None`` for a reported objective.
        at_least: Lower bound of what is feasible.
        at_most: Upper bound of what is feasible.
    """

    name: str
    maximise: bool
    unit: str
    reference: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def label(self) -> str:
        """Name as people write it: ``tail_ndcg@10`` becomes ``Tail NDCG@10``."""
        words = re.sub(r"[a-z]+", lambda match: _spelled(match[0]), self.name).replace("_", " ")
        return words[:1].upper() + words[1:]

    @property
    def label_with_unit(self) -> str:
        """Label, with the unit in brackets where there is one."""
        return self.label if self.unit in ("", "1") else f"{self.label} [{self.unit}]"


@dataclass(frozen=True)
class Hypervolumes:
    """Hypervolumes as the run wrote them, in natural units; ``None`` where it wrote none.

    Attributes:
        front: Of the front.
        experts: Of each expert's swept baseline.
        all_baselines: Of all baselines together.
    """

    front: float | None
    experts: Mapping[str, float]
    all_baselines: float | None

    @property
    def best_expert(self) -> str | None:
        """The expert with the most hypervolume, if any has more than none."""
        best = max(self.experts, key=lambda name: self.experts[name], default=None)
        return best if best is not None and self.experts[best] > 0 else None

    @property
    def gain(self) -> float | None:
        """Front divided by all baselines together; ``None`` where one of them is not known or 0."""
        if self.front is None or not self.all_baselines:
            return None
        return self.front / self.all_baselines


@dataclass(frozen=True)
class RunView:
    """Everything that plots and the page show of one run.

    Attributes:
        path: The run directory.
        info: Content of run.json.
        hypervolumes: Of the front and of the baselines.
        axes: The searched objectives.
        reported: Objectives that are measured only.
        records: One row per record in the order of the search: ``id``, ``fit``, ``seed``,
            ``generation``, ``position``, ``origin``, ``status``, ``reason``, ``elapsed_s``, one
            column per objective (NaN where it is missing) and one per decision variable
            (``train.<name>``, ``serve.<name>``; a weight vector takes one column per part).
        front: One row per point of the front: ``id``, ``selected`` (bool), ``fit``, ``seed``, the
            objectives, and the variables as in ``records``.
        baselines: One row per baseline setting: ``expert``, ``id``, ``on_front`` (bool), the
            objectives and ``serve.<name>``.
        controls: What each control says, a sentence each; empty where none was run.
        confirmed: What ``confirm`` found; ``None`` where test data was never opened.
        lists: Content of lists.json, lists of a few people at every point; ``None`` without one.
    """

    path: Path
    info: Mapping[str, Any]  # JSON of several shapes
    hypervolumes: Hypervolumes
    axes: tuple[Axis, ...]
    reported: tuple[Axis, ...]
    records: pd.DataFrame
    front: pd.DataFrame
    baselines: pd.DataFrame
    controls: tuple[str, ...] = ()
    confirmed: Confirmed | None = None
    lists: Mapping[str, Any] | None = None

    @property
    def title(self) -> str:
        """Name of the experiment."""
        return str(self.info.get("experiment", self.path.name))

    @property
    def names(self) -> list[str]:
        """Names of the searched objectives."""
        return [axis.name for axis in self.axes]

    @property
    def maximise(self) -> list[bool]:
        """Directions of the searched objectives."""
        return [axis.maximise for axis in self.axes]

    @property
    def reference(self) -> list[float]:
        """Reference values of the searched objectives."""
        return [math.nan if axis.reference is None else axis.reference for axis in self.axes]

    @property
    def experts(self) -> list[str]:
        """Names of the baselines, in file order."""
        return list(dict.fromkeys(self.baselines["expert"]))

    @property
    def late_train_share(self) -> float | None:
        """Share of training interactions later than the median test interaction."""
        share = (self.info.get("leak") or {}).get("late_train_share")
        return None if share is None else float(share)

    @cached_property
    def feasible_records(self) -> pd.DataFrame:
        """Rows that are ``ok`` and keep the bounds: those that a front may be made of."""
        return self.records[(self.records["status"] == "ok") & self.feasible(self.records)]

    def values(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return searched objectives of the rows ``[rows, objectives]``, natural units."""
        return frame[self.names].to_numpy(dtype=np.float64)

    @property
    def share_of_box(self) -> float | None:
        """Hypervolume of the front as a share of the box from the reference to the best values.

        The best values are those of the front's points and of feasible baselines. None where
        nothing is known, or no point is better than the reference in some objective.
        """
        rows = self.values(self.front)
        if not self.baselines.empty:
            usable = self.baselines[self.feasible(self.baselines)]
            rows = np.concatenate([rows, self.values(usable)])
        if self.hypervolumes.front is None or not len(rows):
            return None
        reference = np.array(self.reference)
        best = np.where(self.maximise, rows.max(axis=0), rows.min(axis=0))
        sides = np.where(self.maximise, best - reference, reference - best)
        return self.hypervolumes.front / float(sides.prod()) if (sides > 0).all() else None

    def feasible(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Find which rows have every searched objective and keep every bound ``[rows]``."""
        values = self.values(frame)
        low = np.array([-np.inf if axis.at_least is None else axis.at_least for axis in self.axes])
        high = np.array([np.inf if axis.at_most is None else axis.at_most for axis in self.axes])
        return np.asarray(((values >= low) & (values <= high)).all(axis=1))
