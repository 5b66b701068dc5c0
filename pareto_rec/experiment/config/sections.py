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
USUAL_SETTINGS = 2_000  # of a serving search
MOST_STEPS = 10_000_000  # of training
MOST_AT_ONCE = 1_000_000  # rows, texts or items in one step
MOST_ROWS = 1 << 40
MOST_VALUE = 1e18  # of an objective; volumes of several of them must stay finite

_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:[0-9]{1,3})?")


class Section(BaseModel):
    """Unknown keys are refused, values are neither converted nor changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataConfig(TableOptions):
    """Which data, and which signals count; a table of one's own also says how it is read.

    Attributes:
        kind: ``"registered"`` for a named data set, ``"table"`` for files of your own.
        name: Name of the data set; of a table, what plots and reports call it.
        relevance: Signal that counts as relevant where an objective names none.
        liked: Signal of the built-in task ``liked``; none without that task.
    """

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
    """How rows are held out.

    Attributes:
        kind: A registered split.
        validation: Share of the rows that a search measures on.
        test: Share of the rows that ``confirm`` alone opens.
        seed: Of ties and draws; apart from the root seed, so that searches of one split compare.
    """

    kind: str = "per_user"
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(0, ge=0)


class TaskConfig(Section):
    """Something to predict besides relevance; see `pareto_rec.tasks.Task`.

    Attributes:
        name: What objectives and exponents call it.
        signal: Signal of the log that holds its labels.
        loss: For outcomes, or for values.
        condition: Task whose positive outcome it is conditional on.
        weight: Its exponent in the ranking, unless a serving variable says otherwise.
    """

    name: str
    signal: str
    loss: Literal["binary_cross_entropy", "squared_error"] = "binary_cross_entropy"
    condition: str | None = None
    weight: float = 1.0

    def build(self) -> Task:
        """The task."""
        return Task(self.name, self.signal, self.loss, self.condition, self.weight)


class BackboneConfig(Section):
    """The shared encoder.

    Attributes:
        name: Name on the hub, or a local folder.
        max_length: Most tokens of a text.
        cut: Layers that are run and cached; none: all.
        components: Principal components of the features that models read; 0: all features.
        text: False: models read no features at all, item embeddings alone.
        adapted: Take the backbone that ``pareto-rec adapt`` made of it.
    """

    name: str = "sentence-transformers/all-MiniLM-L6-v2"
    max_length: int = Field(64, ge=4, le=512)
    cut: int | None = Field(None, ge=1, le=1000)
    components: int = Field(64, ge=0, le=100_000)
    text: bool = True
    adapted: bool = False


class AdaptConfig(Section):
    """How `pareto-rec adapt` continues the backbone's pre-training; see `adapt.training.Recipe`.

    Attributes:
        steps: Training steps.
        texts: Texts with masked tokens per step; 0: none.
        pairs: Pairs of items of one history per step; 0: none.
        mask: Share of the tokens that are masked.
        window: Most places between the two items of a pair.
        temperature: Of the softmax over the pairs of a step.
        rate: Peak learning rate of the topmost layer.
        decay: Every layer further down learns at this share of the rate of the one above it.
    """

    steps: int = Field(150, ge=1, le=MOST_STEPS)
    texts: int = Field(32, ge=0, le=MOST_AT_ONCE)
    pairs: int = Field(48, ge=0, le=MOST_AT_ONCE)
    mask: float = Field(0.15, gt=0, lt=1)
    window: int = Field(10, ge=1, le=MOST_AT_ONCE)
    temperature: float = Field(0.07, ge=1e-6, le=1e6)
    rate: float = Field(1e-4, gt=0, le=1e3)
    decay: float = Field(0.9, gt=0, le=1)


class VariableConfig(Section):
    """A decision variable; which keys it takes depends on its kind.

    ``loss_weights = "objectives"`` in place of a table stands for the simplex of the losses matched
    to the objectives of the run.

    Attributes:
        kind: Which values it has.
        low: Smallest value, of kinds ``real`` and ``integer``.
        high: Largest value.
        log: Search evenly in the logarithm.
        options: Values of the kind ``choice``.
        names: What the weights of the kind ``simplex`` belong to.
        floor: Smallest weight of some names.
        when: Other variable -> values with which this one is searched; else it has its default.
    """

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


def dotted(given: Any) -> Any:  # Any: TOML
    """Return variables by their whole names.

    ``boost.tail = {...}`` is a table of a table in TOML, and one name here.
    """
    if not isinstance(given, Mapping):
        return given
    flat: dict[str, Any] = {}
    for name, value in given.items():
        family = isinstance(value, Mapping) and "kind" not in value and len(value) > 0
        if family and all(isinstance(one, Mapping) for one in value.values()):
            flat |= {f"{name}.{key}": one for key, one in dotted(value).items()}
        else:
            flat[name] = value
    return flat


class SpaceConfig(Section):
    """The decision variables."""

    train: dict[str, VariableConfig] = Field(default_factory=dict)
    serve: dict[str, VariableConfig] = Field(default_factory=dict)

    @field_validator("serve", mode="before")
    @classmethod
    def _dotted(cls, given: Any) -> Any:  # Any: TOML
        return dotted(given)

    def build(self) -> SearchSpace:
        """The search space."""
        return SearchSpace(
            {name: v.build(f"space.train.{name}") for name, v in self.train.items()},
            {name: v.build(f"space.serve.{name}") for name, v in self.serve.items()},
        )


class ObjectiveConfig(Section):
    """An objective to search on.

    Attributes:
        name: As on the page of the objectives.
        reference: Value from which on it counts; none: its default.
        at_least: Constraint of the search.
        at_most: Constraint of the search.
    """

    name: str = Field(max_length=MOST_NAME)
    reference: float | None = Field(None, ge=-MOST_VALUE, le=MOST_VALUE)
    at_least: float | None = Field(None, ge=-MOST_VALUE, le=MOST_VALUE)
    at_most: float | None = Field(None, ge=-MOST_VALUE, le=MOST_VALUE)


class FidelityConfig(Section):
    """Successive halving inside a generation: fits that fall behind stop early, and are pruned.

    Attributes:
        rungs: Steps after which fits are compared, ascending.
        keep: Share of the compared fits that go on at least.
        margin: Worth that a fit may lack of the last of these and go on too.
    """

    rungs: Annotated[list[int], Field(min_length=1)] = [25]
    keep: float = Field(0.5, gt=0, le=1)
    margin: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.rungs[0] < 1 or sorted(set(self.rungs)) != self.rungs:
            raise ValueError("rungs must be ascending numbers of steps")
        return self


class ServingSearchConfig(Section):
    """Search of serving settings over all fits and baselines, at the end or between generations.

    Attributes:
        settings: How many are measured; each is a record. 2000 unless seconds are given.
        seconds: How long settings are measured, instead of how many; a round that began ends.
        every: After how many generations settings are searched, and the fits that come next learn
            what the others are worth; 0: only after the last one. Half of the budget is for that.
        members: Most networks of one list; each costs time and memory where it is served.
        pool: Fits that lists may choose from besides the replicas: those whose records keep the
            most hypervolume.
        replicas: Fits of the most accurate training variables, which differ in their random draws
            and are also averaged into one member; 1: no more than the one that is there.
        population: Settings that survive, and that are proposed at a time.
        algorithm: A registered search algorithm.
    """

    settings: int | None = Field(None, ge=1, le=10_000_000)
    seconds: float | None = Field(None, gt=0, le=1e9)
    every: int = Field(0, ge=0, le=1_000_000)
    members: int = Field(4, ge=1, le=64)
    pool: int = Field(8, ge=0, le=1000)
    replicas: int = Field(3, ge=1, le=64)
    population: int = Field(64, ge=2, le=MOST_CANDIDATES)
    algorithm: str = "sms_emoa"

    @model_validator(mode="before")
    @classmethod
    def _one_budget(cls, value: Any) -> Any:  # Any: TOML
        """Without seconds there is a number of settings."""
        if not isinstance(value, Mapping):
            return value
        settings, seconds = value.get("settings"), value.get("seconds")
        if settings is not None and seconds is not None:
            raise ValueError('give "settings" or "seconds", not both')
        if settings is None and seconds is None:
            return {**value, "settings": USUAL_SETTINGS}
        return value

    @property
    def budget(self) -> float:
        """Settings, or seconds where these are given."""
        return float(self.settings or 0) if self.seconds is None else self.seconds


class SearchConfig(Section):
    """Algorithm and budget.

    Attributes:
        algorithm: A registered search algorithm.
        population: Fits that the algorithm keeps.
        generations: How often fits are proposed.
        offspring: Fits per generation; none: as the population.
        first: Fits of the first generation; none: as the others.
        sweep: Serving settings that each fit is evaluated at besides its own.
        start: How the first fits are drawn: a Latin hypercube, or at random.
        corners: Begin with the corners of the simplexes.
        surrogate: Model that chooses among proposals.
        fidelity: Stop fits early; none: every fit is trained to its end.
        serving: Search serving settings of all fits and baselines at the end; none: do not.
        timeout_s: Seconds for a pack; none: as long as it takes.
        retries: Tries of a pack after the first, where a worker dies over it.
    """

    algorithm: str = "nsga2"
    population: int = Field(24, ge=2, le=MOST_CANDIDATES)
    generations: int = Field(8, ge=1, le=1_000_000)
    offspring: int | None = Field(None, ge=1, le=MOST_CANDIDATES)
    first: int | None = Field(None, ge=1, le=MOST_CANDIDATES)
    sweep: int = Field(24, ge=1, le=MOST_CANDIDATES)
    start: Literal["lhs", "random"] = "lhs"
    corners: bool = True
    surrogate: Literal["none", "gaussian_process"] = "none"
    fidelity: FidelityConfig | None = None
    serving: ServingSearchConfig | None = None
    timeout_s: float | None = Field(None, gt=0, le=1e9)
    retries: int = Field(2, ge=0, le=1000)

    @property
    def fits(self) -> int:
        """Fits of the whole search, unless the space runs out of them."""
        each = self.offspring or self.population
        return (self.first or each) + (self.generations - 1) * each


class TrainConfig(Section):
    """How fits are computed; none of it changes what a fit is.

    Attributes:
        pack_size: Most fits that are trained together.
        device: Of torch; ``"auto"``: a GPU where there is one.
    """

    pack_size: int = Field(4, ge=1, le=MOST_CANDIDATES)
    device: str = "auto"

    @field_validator("device")
    @classmethod
    def _computes(cls, value: str) -> str:
        if not _DEVICE.fullmatch(value):
            raise ValueError('it must be "auto", "cpu", "cuda", "cuda:1", "mps" or "xpu"')
        return value


class SampleConfig(Section):
    """A part of the data for a try: whole users, and what they met; 0: all.

    Attributes:
        users: Users, drawn with a seed.
        items: Items among what they met; a user whose items would be too many is passed over.
    """

    users: int = Field(0, ge=0)
    items: int = Field(0, ge=0)


class EvaluateConfig(Section):
    """Whom lists are made for and measured on; what is learnt from does not change.

    Attributes:
        users: Users of a seeded sample; 0: all, or 10^8 / items if these are more.
    """

    users: int = Field(0, ge=0, le=MOST_ROWS)


class TuningConfig(Section):
    """How the parameters of baselines are chosen on validation data, before anything is searched.

    The number of settings decides, so that a choice can be repeated; seconds only cap it, and a
    choice that they cut short is said to be. A baseline with an entry in ``baseline_parameters``
    keeps that.

    Attributes:
        settings: Most settings of a baseline that are tried; 1: its defaults are kept.
        seconds: No further setting of a baseline is tried after as many.
        metric: Objective per user that decides: of accuracy, or ``grouped_auc`` where the log has
            impressions without an answer.
        users: Most users that it is measured on, a seeded sample of those with held-out rows.
    """

    settings: int = Field(24, ge=1, le=MOST_CANDIDATES)
    seconds: float = Field(60.0, gt=0, le=1e9)
    metric: str = Field("ndcg@10", max_length=MOST_NAME)
    users: int = Field(5_000, ge=1, le=MOST_ROWS)


class LatencyConfig(Section):
    """What the path of a request holds, where its cost is an objective.

    Attributes:
        encode_text: A text is encoded while the request waits.
    """

    encode_text: bool = False
