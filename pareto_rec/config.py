"""Experiment config: TOML -> validated and frozen; what is wrong is one line that names the key."""

from __future__ import annotations

import copy
import difflib
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from pareto_rec.data.table.files import beside
from pareto_rec.data.table.options import TableOptions, given
from pareto_rec.errors import BadRequestError
from pareto_rec.space import Choice, Integer, Real, SearchSpace, Simplex, Variable
from pareto_rec.tasks import Task

_TRIED = ("float", "int", "str")  # pydantic names the parts of a union that it tried

TomlValue = Any  # what tomllib returns: str, int, float, bool, dates, lists and tables of these


class _Section(BaseModel):
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


class SplitConfig(_Section):
    """How rows are held out."""

    kind: str = "per_user"  # a name in pareto_rec.data.split.SPLITS
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(0, ge=0)  # apart from the root seed: several searches of one split compare


class TaskConfig(_Section):
    """Something to predict besides relevance; see `pareto_rec.tasks.Task`."""

    name: str
    signal: str
    loss: Literal["binary_cross_entropy", "squared_error"] = "binary_cross_entropy"
    condition: str | None = None
    weight: float = 1.0

    def build(self) -> Task:
        """The task."""
        return Task(self.name, self.signal, self.loss, self.condition, self.weight)


class BackboneConfig(_Section):
    """The shared encoder."""

    name: str = "sentence-transformers/all-MiniLM-L6-v2"
    max_length: int = Field(64, ge=4, le=512)
    cut: int | None = Field(None, ge=1)
    components: int = Field(64, ge=0)  # principal components that models read; 0: all features
    text: bool = True  # false: models read no features at all, item embeddings alone
    adapted: bool = False  # the backbone that `pareto-rec adapt` made of it


class AdaptConfig(_Section):
    """How `pareto-rec adapt` continues the backbone's pre-training; see `adapt.training.Recipe`."""

    steps: int = Field(150, ge=1)
    texts: int = Field(32, ge=0)  # texts with masked tokens per step; 0: none
    pairs: int = Field(48, ge=0)  # pairs of items of one history per step; 0: none
    mask: float = Field(0.15, gt=0, lt=1)
    window: int = Field(10, ge=1)
    temperature: float = Field(0.07, gt=0)
    rate: float = Field(1e-4, gt=0)
    decay: float = Field(0.9, gt=0, le=1)


class VariableConfig(_Section):
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


class SpaceConfig(_Section):
    """The decision variables."""

    train: dict[str, VariableConfig] = Field(default_factory=dict)
    serve: dict[str, VariableConfig] = Field(default_factory=dict)

    def build(self) -> SearchSpace:
        """The search space."""
        return SearchSpace(
            {name: v.build(f"space.train.{name}") for name, v in self.train.items()},
            {name: v.build(f"space.serve.{name}") for name, v in self.serve.items()},
        )


class ObjectiveConfig(_Section):
    """An objective to search on."""

    name: str
    reference: float | None = None
    at_least: float | None = None
    at_most: float | None = None


class FidelityConfig(_Section):
    """Successive halving inside a generation: fits that fall behind stop early, and are pruned."""

    rungs: Annotated[list[int], Field(min_length=1)] = [25]  # steps after which fits are compared
    keep: float = Field(0.5, gt=0, le=1)  # share of the compared fits that go on at least
    margin: float = Field(0.0, ge=0, lt=1)  # worth that another may lack of the last of these

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.rungs[0] < 1 or sorted(set(self.rungs)) != self.rungs:
            raise ValueError("rungs must be ascending numbers of steps")
        return self


class SearchConfig(_Section):
    """Algorithm and budget."""

    algorithm: str = "nsga2"
    population: int = Field(24, ge=2)
    generations: int = Field(8, ge=1)
    offspring: int | None = Field(None, ge=1)
    sweep: int = Field(24, ge=1)
    start: Literal["lhs", "random"] = "lhs"
    corners: bool = True
    fidelity: FidelityConfig | None = None  # none: every fit is trained to its end
    timeout_s: float | None = Field(None, gt=0)  # seconds for a pack; none: as long as it takes
    retries: int = Field(2, ge=0)  # tries of a pack after the first, where a worker dies over it


class TrainConfig(_Section):
    """How fits are computed; none of it changes what a fit is."""

    pack_size: int = Field(4, ge=1)
    device: str = "auto"


class EvaluateConfig(_Section):
    """Whom lists are made for and measured on; what is learnt from does not change."""

    users: int = Field(0, ge=0)  # a seeded sample; 0: all, or 10^8 / items if these are more


class LatencyConfig(_Section):
    """What the path of a request holds, where its cost is an objective."""

    encode_text: bool = False  # a text is encoded while the request waits


class Config(_Section):
    """One experiment.

    Attributes:
        name: Names the folder of its runs.
        question: One sentence that the plots and the report repeat.
        seed: Root of every seed.
        fixed: Training variables that are not searched.
        serving: Serving variables that are not searched.
        reported: Objectives that are measured but not searched on.
        baselines: Experts whose sweeps are drawn beside the front.
        references: Name -> run directory whose most accurate fit the training variable
            ``reference`` may name (the loss ``reference_kl``).
        task: What is predicted of shown rows besides relevance, each a ``[[task]]``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    question: str
    seed: int = Field(0, ge=0)
    data: DataConfig
    split: SplitConfig = SplitConfig()
    backbone: BackboneConfig = BackboneConfig()
    adapt: AdaptConfig = AdaptConfig()
    fixed: dict[str, TomlValue] = Field(default_factory=dict)
    serving: dict[str, TomlValue] = Field(default_factory=dict)
    space: SpaceConfig
    objective: Annotated[list[ObjectiveConfig], Field(min_length=2)]
    reported: list[str] = Field(default_factory=list)
    baselines: list[str] = Field(default_factory=list)
    references: dict[str, str] = Field(default_factory=dict)
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    latency: LatencyConfig = LatencyConfig()
    smoke: dict[str, TomlValue] = Field(default_factory=dict)
    task: list[TaskConfig] = Field(default_factory=list)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What is predicted besides relevance."""
        return tuple(one.build() for one in self.task)

    @model_serializer(mode="wrap")
    def _without_no_task(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A config without tasks has no list of them."""
        return {name: value for name, value in handler(self).items() if name != "task" or value}


def load_config(path: Path, overrides: Sequence[str] = (), *, smoke: bool = False) -> Config:
    """Read, override and validate an experiment config.

    Args:
        path: TOML file, or a folder that holds ``config.toml``.
        overrides: ``key=value`` with dotted keys and TOML values; bare words are strings.
        smoke: Apply the config's own ``[smoke]`` table of dotted keys first.

    Raises:
        BadRequestError: With one line that names file and key, and the nearest known key.
    """
    if path.is_dir():
        path = path / "config.toml"
    table = _read(path)
    quick = copy.deepcopy(table)
    for key, value in _flatten(_smoke_table(table, path)):
        _set(quick, key, value, f"{path}: smoke.{key}")
    parse_config(quick, f"{path}, with its [smoke] table")  # refused now, not when it is asked for
    chosen = quick if smoke else table
    for override in overrides:
        key, value = _parse_override(override)
        _set(chosen, key, value, f"--set {override}")
    beside(chosen.get("data"), path.parent)
    _whole_paths(chosen.get("references"))
    source = " ".join([str(path), *(f"--set {override}" for override in overrides)])
    return parse_config(chosen, source)


def _whole_paths(references: TomlValue | None) -> None:
    """Run directories are named as on the command line, and found from any folder afterwards."""
    if isinstance(references, dict):
        for name, folder in references.items():
            if isinstance(folder, str):
                references[name] = str(Path(folder).absolute())


def _smoke_table(table: Mapping[str, TomlValue], path: Path) -> Mapping[str, TomlValue]:
    smoke = table.get("smoke", {})
    if not isinstance(smoke, Mapping):
        raise BadRequestError(f"{path}: smoke: it must be a table, not {smoke!r}")
    return smoke


def parse_config(table: Mapping[str, TomlValue], source: str) -> Config:
    """Validate a table; `source` is named in errors."""
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise BadRequestError(f"{source}: {_first_error(error)}") from None


def _read(path: Path) -> dict[str, TomlValue]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise BadRequestError(f"no config at {path}; give a TOML file or its folder") from None
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(f"{path} is not valid TOML: {error}") from None


def _parse_override(text: str) -> tuple[str, TomlValue]:
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise BadRequestError(f'--set {text}: write key=value, for example "search.sweep=16"')
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()
    return key.strip(), value


def _flatten(table: Mapping[str, TomlValue], prefix: str = "") -> list[tuple[str, TomlValue]]:
    rows: list[tuple[str, TomlValue]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, value))
    return rows


def _set(table: dict[str, TomlValue], key: str, value: TomlValue, source: str) -> None:
    """Set a dotted key; a part of it that is a whole number counts the entries of a list."""
    *parents, last = key.split(".")
    here: TomlValue = table
    for parent in parents:
        here = _entry(here, parent, source)
    if isinstance(here, list):
        _entry(here, last, source)
        here[int(last)] = value
    elif isinstance(here, dict):
        here[last] = value
    else:
        raise BadRequestError(f"{source}: {'.'.join(parents)} is a value, not a table")


def _entry(here: TomlValue, key: str, source: str) -> TomlValue:
    if isinstance(here, dict):
        return here.setdefault(key, {})
    if isinstance(here, list) and key.isdigit() and int(key) < len(here):
        return here[int(key)]
    if isinstance(here, list):
        raise BadRequestError(f"{source}: {key} is no entry of a list of {len(here)} (from 0)")
    raise BadRequestError(f"{source}: {key} lies below a value, not a table")


def _first_error(error: ValidationError) -> str:
    """The first error as ``key: what is wrong``, with the nearest key for an unknown one."""
    problem = error.errors()[0]
    place = [part for part in problem["loc"] if part not in _TRIED]
    key = ".".join(str(part) for part in place)
    others = {tuple(p for p in one["loc"] if p not in _TRIED) for one in error.errors()}
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.4)
        near = [".".join([*map(str, place[:-1]), name]) for name in near]
        hint = f'; did you mean "{near[0]}"?' if near else f"; known here: {', '.join(known)}"
        return f'unknown key "{key}"{hint}{more}'
    if problem["type"] == "missing":
        return f'key "{key}" is missing{more}'
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{key}: {message}, not {reprlib.repr(problem['input'])}{more}"


def _known_keys(place: Sequence[int | str]) -> list[str]:
    """Keys of the section at a place of the config."""
    found: Any = Config
    for part in place:
        if hasattr(found, "model_fields"):
            found = found.model_fields[str(part)].annotation
        else:  # an entry of a list or of a table of sections
            found = get_args(found)[-1]
        if isinstance(found, UnionType):  # a section that may be left out
            found = get_args(found)[0]
    return list(found.model_fields)
