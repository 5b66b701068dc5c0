"""The config of an experiment: TOML -> validated; what is wrong is one line that names the key."""

from __future__ import annotations

import copy
import difflib
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from pareto_rec.config.sections import (
    AdaptConfig,
    BackboneConfig,
    DataConfig,
    EvaluateConfig,
    LatencyConfig,
    ObjectiveConfig,
    SearchConfig,
    Section,
    SpaceConfig,
    SplitConfig,
    TaskConfig,
    TrainConfig,
)
from pareto_rec.data.table.files import beside
from pareto_rec.errors import BadRequestError
from pareto_rec.tasks import Task, built_in

_TRIED = ("float", "int", "str")  # pydantic names the parts of a union that it tried

TomlValue = Any  # what tomllib returns: str, int, float, bool, dates, lists and tables of these


class Config(Section):
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
        return (*built_in(self.data.liked, self.losses), *(one.build() for one in self.task))

    @property
    def losses(self) -> tuple[str, ...]:
        """Losses that fits are trained on."""
        searched = self.space.train.get("loss_weights")
        fixed: Mapping[str, float] = self.fixed.get("loss_weights", {})
        return tuple(fixed if searched is None else searched.names or ())

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
