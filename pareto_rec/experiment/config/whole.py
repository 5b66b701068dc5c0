"""The config of an experiment: TOML -> validated; what is wrong is one line that names the key."""

from __future__ import annotations

import copy
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from pareto_rec.core.errors import BadRequestError, shown
from pareto_rec.data.table.files import beside
from pareto_rec.experiment.config.matched import with_matched_losses
from pareto_rec.experiment.config.messages import first_error
from pareto_rec.experiment.config.sections import (
    MOST_NAME,
    AdaptConfig,
    BackboneConfig,
    DataConfig,
    EvaluateConfig,
    LatencyConfig,
    ObjectiveConfig,
    SampleConfig,
    SearchConfig,
    Section,
    SpaceConfig,
    SplitConfig,
    TaskConfig,
    TrainConfig,
    TuningConfig,
)
from pareto_rec.experiment.config.smoke import bounded
from pareto_rec.experiment.config.systems import (
    SystemsConfig,
    is_of_systems,
    parse_systems,
    paths_beside,
)
from pareto_rec.tasks import Task, built_in

MOST_BYTES = 1 << 20  # of a config
_MOST_LEVELS = 20  # of tables within tables
_MOST_KEY = 200  # characters
_WHOLE = 1 << 63  # whole numbers of TOML have 64 bits
# A key of very many parts: the parser takes minutes over it.
_DEEP = re.compile(r"(?m)^[ \t\[]*[\w-]++(?:[ \t]*\.[ \t]*[\w-]++){50}")
_PLACE = re.compile(r"[0-9]{1,6}")

_FOR_DATA: dict[str, Any] = {  # what stands for missing keys where only the data is looked at
    "name": "data",
    "question": "What is in the data?",
    "space": {},
    "objective": [{"name": "ndcg@10"}, {"name": "epc@10"}],
}

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
        baseline_parameters: Baseline -> parameter -> value; a baseline without an entry is tuned
            when a search begins, and config.toml of the run says what was chosen.
        references: Name -> run directory whose most accurate fit the training variable
            ``reference`` may name (the loss ``reference_kl``).
        plugins: Modules, or files beside the config, that register more to choose from.
        smoke: Dotted keys and what they are with ``--smoke``.
        task: What is predicted of shown rows besides relevance, each a ``[[task]]``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
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
    reported: list[Annotated[str, Field(max_length=MOST_NAME)]] = Field(default_factory=list)
    baselines: list[str] = Field(default_factory=list)
    baseline_parameters: dict[str, dict[str, float | int]] = Field(default_factory=dict)
    references: dict[str, str] = Field(default_factory=dict)
    plugins: list[str] = Field(default_factory=list)
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    sample: SampleConfig = SampleConfig()
    latency: LatencyConfig = LatencyConfig()
    tuning: TuningConfig = TuningConfig()
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
    def _without_empty_lists(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A config without tasks, plugins or parameters of baselines has no list of them."""
        lists = ("task", "plugins", "baseline_parameters")
        left_out = {name for name in lists if not getattr(self, name)}
        return {name: value for name, value in handler(self).items() if name not in left_out}


def load_config(path: Path, overrides: Sequence[str] = (), *, smoke: bool = False) -> Config:
    """Read, override and validate the config of an experiment on one system.

    Args:
        path: As `load_any_config`.
        overrides: As there.
        smoke: As there.

    Raises:
        BadRequestError: As there, or if the config is one of several systems.
    """
    config = load_any_config(path, overrides, smoke=smoke)
    if not isinstance(config, Config):
        raise BadRequestError(
            f"{path}: it is a config of several systems, of which this command knows nothing yet; "
            "`search` and `report` do"
        )
    return config


def load_any_config(
    path: Path, overrides: Sequence[str] = (), *, smoke: bool = False
) -> Config | SystemsConfig:
    """Read, override and validate an experiment config, of one system or of several.

    Args:
        path: TOML file, or a folder that holds ``config.toml``.
        overrides: ``key=value`` with dotted keys and TOML values; bare words are strings.
        smoke: Apply the config's own ``[smoke]`` table of dotted keys first, and bound what it
            leaves open (`pareto_rec.experiment.config.smoke`).

    Raises:
        BadRequestError: With one line that names file and key, and the nearest known key.
    """
    path, table = _read(path)
    several = is_of_systems(table)
    quick = copy.deepcopy(table)
    own = _flatten(_smoke_table(table, path))
    for key, value in own:
        _set(quick, key, value, f"{path}: smoke.{key}")
    if not several:
        quick = bounded(quick, [key for key, _ in own])
    if own:
        _check_smoke(quick, table, path)  # refused now, not when it is asked for
    chosen = quick if smoke else table
    for override in overrides:
        key, value = _parse_override(override)
        _set(chosen, key, value, f"--set {_cut(override)}")
    source = " ".join([str(path), *(f"--set {_cut(override)}" for override in overrides)])
    if several:
        paths_beside(chosen, path.parent)
        return parse_systems(chosen, source)
    beside(chosen.get("data"), path.parent)
    _whole_paths(chosen.get("references"))
    _plugin_paths(chosen.get("plugins"), path.parent)
    return parse_config(chosen, source)


def load_data_config(path: Path) -> Config:
    """Read a config for its data alone: what only a search needs may be missing.

    Args:
        path: TOML file, or a folder that holds ``config.toml``.

    Raises:
        BadRequestError: As :func:`load_config`; also if the file has no ``[data]``.
    """
    path, own = _read(path)
    table = {**_FOR_DATA, **own}
    if "data" not in table:
        raise BadRequestError(f"{path}: there is no [data] to look at")
    beside(table["data"], path.parent)
    return parse_config(table, str(path))


def _check_smoke(
    quick: Mapping[str, TomlValue], table: Mapping[str, TomlValue], path: Path
) -> None:
    """Refuse what is wrong with the ``[smoke]`` table, which is named where it is to blame."""
    parse = parse_systems if is_of_systems(table) else parse_config
    try:
        parse(quick, f"{path}, with its [smoke] table")
    except BadRequestError:
        parse(table, str(path))  # what is wrong without it too is not its doing
        raise


def _whole_paths(references: TomlValue | None) -> None:
    """Run directories are named as on the command line, and found from any folder afterwards."""
    if isinstance(references, dict):
        for name, folder in references.items():
            if isinstance(folder, str):
                references[name] = str(Path(folder).absolute())


def _plugin_paths(plugins: TomlValue | None, folder: Path) -> None:
    """Plugins that are files start at the config's folder, and are found from any other."""
    if isinstance(plugins, list):
        for index, name in enumerate(plugins):
            if isinstance(name, str) and name.endswith(".py"):
                plugins[index] = str(folder.resolve() / name)


def _smoke_table(table: Mapping[str, TomlValue], path: Path) -> Mapping[str, TomlValue]:
    smoke = table.get("smoke", {})
    if not isinstance(smoke, Mapping):
        raise BadRequestError(f"{path}: smoke: it must be a table, not {shown(smoke)}")
    return smoke


def parse_config(table: Mapping[str, TomlValue], source: str) -> Config:
    """Validate a table; `source` is named in errors."""
    try:
        return Config.model_validate(with_matched_losses(table))
    except ValidationError as error:
        raise BadRequestError(f"{source}: {first_error(error, table, Config)}") from None


def _read(path: Path) -> tuple[Path, dict[str, TomlValue]]:
    """Which file it is, and what stands there.

    Raises:
        BadRequestError: If it is not TOML, or holds what no key takes.
    """
    try:
        path = path / "config.toml" if path.is_dir() else path
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise BadRequestError(
            f"no config at {_named(path)}; give a TOML file or its folder"
        ) from None
    except OSError as error:
        raise BadRequestError(f"{_named(path)} cannot be read: {error.strerror}") from None
    except ValueError:
        raise BadRequestError(f"{_named(path)} cannot be the name of a file") from None
    if len(content) > MOST_BYTES:
        raise BadRequestError(
            f"{path} is longer than {MOST_BYTES >> 20} MB and so not a config; give a TOML file"
        )
    try:
        text = content.decode()
        if _DEEP.search(text):
            raise RecursionError
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{path} is not valid TOML: {_reason(error)}") from None
    check_values(table, str(path))
    return path, table


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_KEY else f"{text[: _MOST_KEY - 3]}..."


def _named(path: Path) -> str:
    name = str(path)
    return name if len(name) <= _MOST_KEY and "\x00" not in name else shown(name)


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return f"it is nested more than {_MOST_LEVELS} deep"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text (byte {error.start:,})"
    if isinstance(error, tomllib.TOMLDecodeError):
        return str(error)
    return "a number is too long"


def check_values(table: Mapping[str, TomlValue], source: str) -> None:
    """Refuse what no key takes: numbers beyond 64 bits or not finite, tables nested too deeply, ...

    Args:
        table: As it was read.
        source: Named in errors.

    Raises:
        BadRequestError: With the key and what is wrong with its value.
    """
    left: list[tuple[tuple[str, ...], TomlValue]] = [((), table)]
    while left:
        place, value = left.pop()
        wrong = _wrong(value, len(place))
        if wrong:
            raise BadRequestError(f"{source}: {'.'.join(place)}: {wrong}")
        if isinstance(value, Mapping):
            for key in value:
                if len(key) > _MOST_KEY or not _is_text(key):
                    raise BadRequestError(f"{source}: {shown(key)} cannot be a key")
            left += [((*place, key), value[key]) for key in reversed(value)]
        elif isinstance(value, list):
            left += [((*place, str(n)), one) for n, one in reversed(list(enumerate(value)))]


def _wrong(value: TomlValue, level: int) -> str:
    """What is wrong with a value; "" where nothing is."""
    if level > _MOST_LEVELS:
        return f"it is nested more than {_MOST_LEVELS} deep"
    if isinstance(value, str) and not _is_text(value):
        return f"{shown(value)} holds a NUL or half of a character"
    if isinstance(value, int) and not -_WHOLE <= value < _WHOLE:
        return f"{shown(value)} is beyond 64 bits"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number"
    return ""


def _is_text(text: str) -> bool:
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def _parse_override(text: str) -> tuple[str, TomlValue]:
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise BadRequestError(f'--set {_cut(text)}: write key=value, for example "search.sweep=16"')
    try:
        table = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        table = {}
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"--set {_cut(key)}: {_reason(error)}") from None
    value = table["value"] if len(table) == 1 else raw.strip()  # a line break: several keys
    for part in key.split("."):
        check_values({part: value}, f"--set {_cut(key)}")
    if key.count(".") > _MOST_LEVELS:
        raise BadRequestError(f"--set {_cut(key)}: it is nested more than {_MOST_LEVELS} deep")
    return key, value


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
    if isinstance(here, list) and _PLACE.fullmatch(key) and int(key) < len(here):
        return here[int(key)]
    if isinstance(here, list):
        raise BadRequestError(f"{source}: {key} is no entry of a list of {len(here)} (from 0)")
    raise BadRequestError(f"{source}: {key} lies below a value, not a table")
