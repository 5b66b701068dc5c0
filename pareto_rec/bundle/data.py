"""Data of a bundle, as values: its manifest and its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pareto_rec.baselines.base import ItemModel
from pareto_rec.core.errors import construct, unknown
from pareto_rec.data.schema import Interactions, Items, Users, mean_signal
from pareto_rec.ranking import ServingParams
from pareto_rec.training.data import Fit

if TYPE_CHECKING:
    from pareto_rec.bundle.files import Manifest

FORMAT = 2
TRAIN, CONTEXT, VALIDATION, TEST = range(4)
"""What a row of the log is: learnt from; history but not learnt from; held out; held out last."""

FORMS = ("fp32", "onnx", "int8")
_NAME = r"^[A-Za-z0-9_.-]+$"  # becomes a file's name
_NAMES = r"^[A-Za-z0-9_.+-]+$"

Floats = NDArray[np.float32]
Value = float | int | str | list[float] | dict[str, float]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ObjectiveAbout(_Said):
    """One objective of the run.

    Attributes:
        name: As written in the config.
        maximise: Whether larger is better.
        unit: Unit of the value.
        reference: Reference value of the hypervolume; None where it is only reported.
        searched: Whether the search saw it.
    """

    name: str
    maximise: bool
    unit: str
    reference: float | None
    searched: bool


class PointAbout(_Said):
    """One operating point.

    Attributes:
        id: Candidate id.
        fit: Id of the fit of its record, ids of several joined by "+", or ``"experts"`` where no
            network has a say.
        members: What it fuses: fits by id and experts by name -> weight.
        seed: Seed of the fit.
        train: Training variables, as in the record.
        serve: Serving variables, as in the record.
        serving: Every serving variable by name.
        objectives: Values on the validation stage, as recorded.
        test: Means of the objectives on test data, where ``confirm`` has measured them.
        intervals: Their low and high.
        forms: Form -> objective -> value on the validation stage, measured on the bundle.
        picked: Why it was picked; empty if not given.
        selected: Whether it is one of the points that keep the most hypervolume.
    """

    id: str = Field(pattern=_NAME)
    fit: str = Field(pattern=_NAMES)
    members: dict[Annotated[str, Field(pattern=_NAME)], float] = Field(min_length=1)
    seed: int
    train: dict[str, Value]
    serve: dict[str, Value]
    serving: dict[str, Any]
    objectives: dict[str, float]
    test: dict[str, float] = {}
    intervals: dict[str, list[float]] = {}
    forms: dict[str, dict[str, float]] = {}
    picked: str = ""
    selected: bool = False


class Neighbour(_Said):
    """The nearest point of the run's front that is better than the default one in an objective.

    Attributes:
        id: Its id.
        better_in: The objective.
        objectives: Its values of the searched objectives on the validation stage.
    """

    id: str
    better_in: str
    objectives: dict[str, float]


class BundleManifest(_Said):
    """Manifest of a bundle, in ``bundle.json``.

    Attributes:
        format: Version of the layout.
        experiment: Name of the experiment.
        question: The question it answers.
        seed: Root seed of the run.
        k: Length of the lists that were measured.
        learned_from: Parts of the data that heads and experts learnt from.
        relevance: Signal that counts as relevant.
        liked: Signal of the second task; None without one.
        objectives: Those of the run.
        experts: Name -> recency of the history (see `ItemModel.tau`).
        points: Operating points, best by the first objective first.
        default: Id of the point that answers where a request names none.
        neighbours: Of the default point on the run's front.
        forms: Forms that the bundle holds.
        hashes: What the run was computed from.
        agreement: Form -> what was found when its lists were compared with the run's:
            ``same_lists`` (share), ``ties`` (lists that differ by rounding alone), ``p50_ms`` and
            ``p95_ms`` of a request and the machine's ``load``, ``text_cosine`` (least agreement of
            encoded texts).
        late_train_share: Share of training rows later than the median test row.
        note: What else must be known.
    """

    format: int = FORMAT
    experiment: str
    question: str
    seed: int
    k: int = Field(ge=1)
    learned_from: str
    relevance: str
    liked: str | None
    objectives: list[ObjectiveAbout]
    experts: dict[Annotated[str, Field(pattern=_NAME)], Annotated[float, Field(gt=0)] | None]
    points: list[PointAbout] = Field(min_length=1)
    default: str
    neighbours: list[Neighbour] = []
    forms: list[str] = ["fp32"]
    hashes: dict[str, str] = {}
    agreement: dict[str, dict[str, float]] = {}
    late_train_share: float | None = None
    note: str = ""

    @property
    def fits(self) -> list[str]:
        """Ids of the fits that any point fuses."""
        known = {name for point in self.points for name in point.members}
        return sorted(known - set(self.experts))

    def point(self, id_: str) -> PointAbout:
        """Return the point of an id, or of the beginning of one that only one point has.

        Raises:
            BadRequestError: If there is none, or more than one.
        """
        matches = [point for point in self.points if point.id.startswith(id_)] if id_ else []
        exact = [point for point in matches if point.id == id_]
        if exact or len(matches) == 1:
            return (exact or matches)[0]
        raise unknown("point of the bundle", id_, [point.id for point in self.points])


@dataclass(frozen=True)
class BundleData:
    """Everything that a bundle holds. Arrays are read-only, and in memory (`bundle.memory`).

    Attributes:
        about: What it says of itself.
        config: The run's config as resolved, TOML.
        items: The catalogue.
        users: The people.
        interactions: The log, sorted by user, then time, ties as the split ordered them.
        part: ``[rows]`` what each row is: `TRAIN`, `CONTEXT`, `VALIDATION` or `TEST`.
        features: States of the backbone ``[N, F]``.
        vectors: What networks read of the items ``[N, D]``.
        mean: ``[F]``, see `loadings`.
        loadings: ``[F, D]``: ``vectors = (features - mean) @ loadings``, for new items.
        experts: Expert name -> its item-item model, over the first items of the catalogue (items
            that were added later are unknown to it).
        fits: Fit id -> fit.
        backbone: Folder of encoder and tokenizer.
        backbone_copies: Name -> copy in memory of a file of it; empty: they are read from
            the folder.
        own_vectors: Fit id -> what that network reads of the items ``[N, D]``, where it has tuned
            layers or another depth and so does not read `vectors`.
        extra: Name -> content of further files of the run.
        manifest: Files that these parts were read from; None for parts that were not read.
    """

    about: BundleManifest
    config: str
    items: Items
    users: Users
    interactions: Interactions
    part: NDArray[np.uint8]
    features: Floats
    vectors: Floats
    mean: Floats
    loadings: Floats
    experts: Mapping[str, ItemModel]
    fits: Mapping[str, Fit]
    backbone: Path
    backbone_copies: Mapping[str, Path] = field(default_factory=dict)
    own_vectors: Mapping[str, Floats] = field(default_factory=dict)
    extra: Mapping[str, bytes] = field(default_factory=dict)
    manifest: Manifest | None = None

    @cached_property
    def train(self) -> Interactions:
        """Rows that heads and experts learnt from."""
        return self.interactions.take(self.part == TRAIN)

    @cached_property
    def history(self) -> Interactions:
        """Rows that lists are made from."""
        return self.interactions.take(self.part <= CONTEXT)

    @cached_property
    def validation(self) -> Interactions:
        """Rows that were held out for validation."""
        return self.interactions.take(self.part == VALIDATION)

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """``[N]``: number of training rows per item."""
        return np.bincount(self.train.item, minlength=len(self.items)).astype(np.int64)

    def mean_signal(self, signal: str) -> NDArray[np.float64]:
        """Compute the mean value of a signal in the training rows of each item ``[N]``, shrunk.

        Raises:
            BadRequestError: If there is no such signal.
        """
        return mean_signal(self.train, signal, len(self.items))

    def vectors_of(self, fit_id: str) -> Floats:
        """Return what a network reads of the items ``[N, D]``."""
        return self.own_vectors.get(fit_id, self.vectors)

    def networks(self, point: str) -> tuple[str, ...]:
        """Return ids of the fits that have a say at a point."""
        fusion = self.serving(point).fusion
        return tuple(name for name, weight in fusion.items() if weight > 0 and name in self.fits)

    def experts_of(self, point: str) -> list[str]:
        """Return experts that have a say at a point."""
        fusion = self.serving(point).fusion
        return [n for n, weight in fusion.items() if weight > 0 and n not in self.fits]

    @cached_property
    def _resolved(self) -> dict[str, ServingParams]:
        return {}

    def serving(self, point: str) -> ServingParams:
        """Return the serving variables of a point, its members as names of the fusion; cached.

        Raises:
            BadRequestError: If there is no such point, or a variable is not known.
        """
        if point not in self._resolved:
            chosen = self.about.point(point)
            values = {**chosen.serving, "fusion": chosen.members}
            serving = construct("serving variable", ServingParams, values)
            if point != chosen.id:  # ids are few; what people write for them need not be
                return serving
            self._resolved[point] = serving
        return self._resolved[point]
