"""The sections of an experiment config, each validated and frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.options import TableOptions, given
from pareto_rec.search.space import (
    Choice,
    Integer,
    Real,
    SearchSpace,
    Simplex,
    Variable,
)
from pareto_rec.tasks import Task

MOST_CANDIDATES = 10_000  # at once; every one of them is trained and measured
MOST_NAME = 200  # characters of the name of an objective
MOST_STEPS = 10_000_000  # of training
MOST_AT_ONCE = 1_000_000  # rows, texts or items in one step
MOST_ROWS = 1 << 40
MOST_VALUE = 1e18  # of an objective; volumes of several of them must stay finite

_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:[0-9]{1,3})?")


class Section(BaseModel):
    """Unknown keys are refused, values are neither converted nor changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataConfig(TableOptions):
    """Which data, and which signals count; a table of one's own also says how it is read."""

    kind: Literal["registered", "table"] = "registered"
    name: str
    relevance: str = "watched"
    liked: str | None = "liked"

    @model_validator(mode="before")
    @classmethod
    def _of_a_table(cls, value: Any) -> Any:
        """A table names its own signals, and has no second task unless it says so."""
        if not isinstance(value, Mapping) or value.get("kind") != "table":
            return value
        signals = value.get("signals") or {"interaction": None}
        names = list(signals) if isinstance(signals, Mapping) else ["interaction"]
        return {"name": "table", "relevance": names[0], "liked": None, **value}

    @model_validator(mode="after")
    def _files_of_a_table(self) -> Self:
        extra = given(self)
        if self.kind == "registered" and extra:
            raise ValueError(f'"{min(extra)}" is for kind = "table"')
        if self.kind == "table" and not self.files:
            raise ValueError('kind = "table" needs "files"')
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What a table leaves to its defaults is left out, above all where there is no table."""
        left = set(TableOptions.model_fields) - set(given(self))
        left |= {"kind"} if self.kind == "registered" else set()
        return {name: value for name, value in handler(self).items() if name not in left}


class SplitConfig(Section):
    """How rows are held out."""

    kind: str = "per_user"  # a name in pareto_rec.data.split.SPLITS
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(0, ge=0)  # apart from the root seed: several searches of one split compare


class TaskConfig(Section):
    """Something to predict besides relevance; see `pareto_rec.tasks.Task`."""

    name: str
    signal: str
    loss: Literal["binary_cross_entropy", "squared_error"] = "binary_cross_entropy"
    condition: str | None = None
    weight: float = 1.0

    def build(self) -> Task:
        """The task."""
        return Task(self.name, self.signal, self.loss, self.condition, self.weight)


class BackboneConfig(Section):
    """The shared encoder."""

    name: str = "sentence-transformers/all-MiniLM-L6-v2"
    max_length: int = Field(64, ge=4, le=512)
    cut: int | None = Field(None, ge=1, le=1000)
    components: int = Field(
        64, ge=0, le=100_000
    )  # principal components that models read; 0: all features
    text: bool = True  # false: models read no features at all, item embeddings alone
    adapted: bool = False  # the backbone that `pareto-rec adapt` made of it


class AdaptConfig(Section):
    """How `pareto-rec adapt` continues the backbone's pre-training; see `adapt.training.Recipe`."""

    steps: int = Field(150, ge=1, le=MOST_STEPS)
    texts: int = Field(32, ge=0, le=MOST_AT_ONCE)  # texts with masked tokens per step; 0: none
    pairs: int = Field(48, ge=0, le=MOST_AT_ONCE)  # pairs of items of one history per step; 0: none
    mask: float = Field(0.15, gt=0, lt=1)
    window: int = Field(10, ge=1, le=MOST_AT_ONCE)
    temperature: float = Field(0.07, ge=1e-6, le=1e6)
    rate: float = Field(1e-4, gt=0, le=1e3)
    decay: float = Field(0.9, gt=0, le=1)


class VariableConfig(Section):
    """A decision variable; which keys it takes depends on its kind."""

    kind: Literal["real", "integer", "choice", "simplex"]
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    options: list[float | int | str] | None = None
    names: list[str] | None = None
    floor: dict[str, float] = Field(default_factory=dict)
    when: dict[str, list[float | int | str]] = Field(default_factory=dict)

    def build(self, key: str) -> Variable:
        """The variable.

        Raises:
            BadRequestError: If a key that its kind needs is missing, or a bound is impossible.
        """
        needs = {
            "real": ("low", "high"),
            "integer": ("low", "high"),
            "choice": ("options",),
            "simplex": ("names",),
        }[self.kind]
        for name in needs:
            if getattr(self, name) is None:
                raise BadRequestError(f'{key}: a variable of kind "{self.kind}" needs "{name}"')
        when = {name: tuple(values) for name, values in self.when.items()}
        try:
            match self.kind:
                case "real":
                    return Real(float(self.low or 0), float(self.high or 0), self.log, when)
                case "integer":
                    return Integer(self._whole(self.low), self._whole(self.high), self.log, when)
                case "choice":
                    return Choice(tuple(self.options or ()), when)
                case "simplex":
                    return Simplex(tuple(self.names or ()), self.floor, when)
        except BadRequestError as error:
            raise BadRequestError(f"{key}: {error}") from None

    @staticmethod
    def _whole(bound: float | int | None) -> int:
        if not isinstance(bound, int):
            raise BadRequestError(f"bounds of an integer must be whole numbers, not {bound}")
        return bound


class SpaceConfig(Section):
    """The decision variables."""

    train: dict[str, VariableConfig] = Field(default_factory=dict)
    serve: dict[str, VariableConfig] = Field(default_factory=dict)

    def build(self) -> SearchSpace:
        """The search space."""
        return SearchSpace(
            {name: v.build(f"space.train.{name}") for name, v in self.train.items()},
            {name: v.build(f"space.serve.{name}") for name, v in self.serve.items()},
        )


class ObjectiveConfig(Section):
    """An objective to search on."""

    name: str = Field(max_length=MOST_NAME)
    reference: float | None = Field(None, ge=-MOST_VALUE, le=MOST_VALUE)
    at_least: float | None = Field(None, ge=-MOST_VALUE, le=MOST_VALUE)
    at_most: float | None = Field(None, ge=-MOST_VALUE, le=MOST_VALUE)


class FidelityConfig(Section):
    """Successive halving inside a generation: fits that fall behind stop early, and are pruned."""

    rungs: Annotated[list[int], Field(min_length=1)] = [25]  # steps after which fits are compared
    keep: float = Field(0.5, gt=0, le=1)  # share of the compared fits that go on at least
    margin: float = Field(0.0, ge=0, lt=1)  # worth that another may lack of the last of these

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.rungs[0] < 1 or sorted(set(self.rungs)) != self.rungs:
            raise ValueError("rungs must be ascending numbers of steps")
        return self


class SearchConfig(Section):
    """Algorithm and budget."""

    algorithm: str = "nsga2"
    population: int = Field(24, ge=2, le=MOST_CANDIDATES)
    generations: int = Field(8, ge=1, le=1_000_000)
    offspring: int | None = Field(
        None, ge=1, le=MOST_CANDIDATES
    )  # fits per generation; none: as the population
    first: int | None = Field(
        None, ge=1, le=MOST_CANDIDATES
    )  # fits of the first generation; none: as the others
    sweep: int = Field(24, ge=1, le=MOST_CANDIDATES)
    start: Literal["lhs", "random"] = "lhs"
    corners: bool = True
    surrogate: Literal["none", "gaussian_process"] = "none"
    fidelity: FidelityConfig | None = None  # none: every fit is trained to its end
    timeout_s: float | None = Field(
        None, gt=0, le=1e9
    )  # seconds for a pack; none: as long as it takes
    retries: int = Field(
        2, ge=0, le=1000
    )  # tries of a pack after the first, where a worker dies over it

    @property
    def fits(self) -> int:
        """Fits of the whole search, unless the space runs out of them."""
        each = self.offspring or self.population
        return (self.first or each) + (self.generations - 1) * each


class TrainConfig(Section):
    """How fits are computed; none of it changes what a fit is."""

    pack_size: int = Field(4, ge=1, le=MOST_CANDIDATES)
    device: str = "auto"

    @field_validator("device")
    @classmethod
    def _computes(cls, value: str) -> str:
        if not _DEVICE.fullmatch(value):
            raise ValueError('it must be "auto", "cpu", "cuda", "cuda:1", "mps" or "xpu"')
        return value


class SampleConfig(Section):
    """A part of the data for a try: whole users, and what they met; 0: all."""

    users: int = Field(0, ge=0)
    items: int = Field(0, ge=0)


class EvaluateConfig(Section):
    """Whom lists are made for and measured on; what is learnt from does not change."""

    users: int = Field(
        0, ge=0, le=MOST_ROWS
    )  # a seeded sample; 0: all, or 10^8 / items if these are more


class LatencyConfig(Section):
    """What the path of a request holds, where its cost is an objective."""

    encode_text: bool = False  # a text is encoded while the request waits
