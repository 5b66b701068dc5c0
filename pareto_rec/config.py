"""Experiment config: TOML -> validated and frozen; what is wrong is one line that names the key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pareto_rec.errors import BadRequestError
from pareto_rec.space import Choice, Integer, Real, SearchSpace, Simplex, Variable

TomlValue = Any  # what tomllib returns: str, int, float, bool, dates, lists and tables of these


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataConfig(_Section):
    """Which data, and which signals count."""

    name: str
    relevance: str = "watched"
    liked: str | None = "liked"


class SplitConfig(_Section):
    """How rows are held out."""

    kind: Literal["per_user"] = "per_user"
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(0, ge=0)  # apart from the root seed: several searches of one split compare


class BackboneConfig(_Section):
    """The shared encoder."""

    name: str = "sentence-transformers/all-MiniLM-L6-v2"
    max_length: int = Field(64, ge=4, le=512)
    cut: int | None = Field(None, ge=1)


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


class SearchConfig(_Section):
    """Algorithm and budget."""

    algorithm: str = "nsga2"
    population: int = Field(24, ge=2)
    generations: int = Field(8, ge=1)
    offspring: int | None = Field(None, ge=1)
    sweep: int = Field(24, ge=1)
    start: Literal["lhs", "random"] = "lhs"
    corners: bool = True


class TrainConfig(_Section):
    """How fits are computed; none of it changes what a fit is."""

    pack_size: int = Field(4, ge=1)
    device: str = "auto"


class Config(_Section):
    """One experiment.

    Attributes:
        name: Names the folder of its runs.
        question: One sentence that the plots and the report repeat.
        seed: Root of every seed.
        fixed: Training variables that are not searched.
        reported: Objectives that are measured but not searched on.
        baselines: Experts whose sweeps are drawn beside the front.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    question: str
    seed: int = Field(0, ge=0)
    data: DataConfig
    split: SplitConfig = SplitConfig()
    backbone: BackboneConfig = BackboneConfig()
    fixed: dict[str, TomlValue] = Field(default_factory=dict)
    space: SpaceConfig
    objective: Annotated[list[ObjectiveConfig], Field(min_length=2)]
    reported: list[str] = Field(default_factory=list)
    baselines: list[str] = Field(default_factory=list)
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    smoke: dict[str, TomlValue] = Field(default_factory=dict)


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
    if smoke:
        for key, value in _flatten(table.get("smoke", {})):
            _set(table, key, value)
    for override in overrides:
        key, value = _parse_override(override)
        _set(table, key, value)
    return parse_config(table, str(path))


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


def _set(table: dict[str, TomlValue], key: str, value: TomlValue) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise BadRequestError(f"--set {key}: {parent} is not a table of the config")
    table[last] = value


def _first_error(error: ValidationError) -> str:
    """The first error as ``key: what is wrong``, with the nearest key for an unknown one."""
    problem = error.errors()[0]
    place = [part for part in problem["loc"] if not str(part).startswith("function-")]
    key = ".".join(str(part) for part in place)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.4)
        hint = f'; did you mean "{near[0]}"?' if near else f"; known here: {', '.join(known)}"
        return f'unknown key "{key}"{hint}{more}'
    if problem["type"] == "missing":
        return f'key "{key}" is missing{more}'
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{key}: {message}, not {problem['input']!r}{more}"


def _known_keys(place: Sequence[int | str]) -> list[str]:
    """Keys of the section at a place of the config."""
    model: Any = Config
    for part in place:
        if isinstance(model, type) and issubclass(model, BaseModel):
            annotation: Any = model.model_fields[str(part)].annotation
        else:
            annotation = model
        model = _inner(annotation)
    return list(model.model_fields) if hasattr(model, "model_fields") else []


def _inner(annotation: Any) -> Any:
    """The section inside of a list, dict, union or annotation."""
    origin = get_origin(annotation)
    if origin in (list, dict, Annotated, Union, UnionType):
        arguments = [a for a in get_args(annotation) if a is not type(None)]
        return _inner(arguments[0] if origin is Annotated else arguments[-1])
    return annotation


def field_names(cls: type) -> list[str]:
    """Names of a dataclass's fields: the variables that a config may name."""
    return [one.name for one in fields(cls)]
