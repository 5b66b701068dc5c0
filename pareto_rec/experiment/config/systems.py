"""The config of an experiment on several systems that share one model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.files import beside
from pareto_rec.data.table.options import Rule
from pareto_rec.data.table.rows import RowOptions
from pareto_rec.experiment.config.messages import first_error
from pareto_rec.experiment.config.sections import (
    MOST_NAME,
    BackboneConfig,
    DataConfig,
    EvaluateConfig,
    ObjectiveConfig,
    SampleConfig,
    SearchConfig,
    Section,
    SpaceConfig,
    SplitConfig,
    TrainConfig,
    TuningConfig,
    dotted,
)

NAME = re.compile(r"[a-z][a-z0-9_]*")
BASELINES = "best_baselines"  # the best simple opponent of every system, together one point
SEPARATOR = "."  # between a system and one of its variables

TomlValue = Any  # what tomllib returns


class EntitySplit(Section):
    """How rows are held out: all rows of an entity together.

    Attributes:
        by: The entity: ``"query"`` or ``"item"`` of pairs, a column or template of rows.
        validation: Share of the rows that a search measures on.
        test: Share of the rows that ``confirm`` alone opens.
        seed: Of the draw.
    """

    by: str = Field("query", min_length=1)
    validation: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.15, gt=0, lt=1)
    seed: int = Field(0, ge=0)


class PairOptions(RowOptions):
    """Judged pairs of a query and an item.

    Attributes:
        query: Column of the query's text.
        item: Column of the item's id.
        text: What the backbone reads of an item: a column or a template.
        grade: How relevant the item is to the query: a column of numbers, or a rule.
        queries: Most queries, a seeded sample for a try; 0: all.
    """

    query: str
    item: str
    text: str
    grade: Rule
    queries: int = Field(0, ge=0)


class LabelledOptions(RowOptions):
    """Rows with a yes or a no.

    Attributes:
        text: What the backbone reads of a row: a column or a template.
        label: A rule, or a column of numbers of which those above 0 are a yes.
        numbers: Columns of numbers.
        categories: Columns of few different texts.
        unique: Whether a row of the same text as an earlier one is dropped, and counted.
    """

    text: str
    label: Rule
    numbers: list[str] = Field(default_factory=list)
    categories: list[str] = Field(default_factory=list)
    unique: bool = False


class _System(Section):
    """What every system has.

    Attributes:
        name: Stands behind ``@`` in the names of its objectives.
        fixed: Training variables of its own that are not searched.
    """

    name: str = Field(max_length=40)
    fixed: dict[str, TomlValue] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("a system's name is made of a-z, 0-9 and _, with a letter at first")
        return value


class RecommendSystem(_System):
    """Lists of items from histories; its tables are those of an experiment on it alone."""

    kind: Literal["recommend"]
    data: DataConfig
    split: SplitConfig = SplitConfig()
    sample: SampleConfig = SampleConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    serving: dict[str, TomlValue] = Field(default_factory=dict)
    baselines: list[str] = Field(default_factory=list)
    tuning: TuningConfig = TuningConfig()


class RankSystem(_System):
    """Items in order of relevance to a query."""

    kind: Literal["rank"]
    data: PairOptions
    split: EntitySplit = EntitySplit()

    @field_validator("split")
    @classmethod
    def _by_a_side(cls, value: EntitySplit) -> EntitySplit:
        if value.by not in ("query", "item"):
            raise ValueError('by: pairs are split by "query" or by "item"')
        return value


class ScoreSystem(_System):
    """The probability of a yes for a row."""

    kind: Literal["score"]
    data: LabelledOptions
    split: EntitySplit


SystemConfig = Annotated[RecommendSystem | RankSystem | ScoreSystem, Field(discriminator="kind")]


class SystemsSpace(SpaceConfig):
    """The decision variables; ``[space.train.NAME]`` and ``[space.serve.NAME]`` are of a system."""

    @field_validator("train", mode="before")
    @classmethod
    def _own(cls, given: Any) -> Any:  # Any: TOML
        return dotted(given)


class SystemsConfig(Section):
    """One experiment on several systems.

    Attributes:
        name: Names the folder of its runs.
        question: One sentence that the plots and the report repeat.
        seed: Root of every seed.
        backbone: Shared by all systems.
        system: The systems, each a ``[[system]]``.
        fixed: Training variables of all systems that are not searched.
        space: Decision variables; those of a system alone are named ``NAME.variable``.
        objective: Objectives that are searched, ``ndcg@10@NAME``.
        reported: Objectives that are only written down.
        search: Algorithm and budget.
        train: How fits are computed.
        smoke: Dotted keys and what they are with ``--smoke``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
    question: str
    seed: int = Field(0, ge=0)
    backbone: BackboneConfig = BackboneConfig()
    system: Annotated[list[SystemConfig], Field(min_length=1, max_length=32)]
    fixed: dict[str, TomlValue] = Field(default_factory=dict)
    space: SystemsSpace
    objective: Annotated[list[ObjectiveConfig], Field(min_length=2)]
    reported: list[Annotated[str, Field(max_length=MOST_NAME)]] = Field(default_factory=list)
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    smoke: dict[str, TomlValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _different(self) -> Self:
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two systems are named "{name}"')
        for key in ("fidelity", "serving"):
            if getattr(self.search, key) is not None:
                raise ValueError(f"search.{key} is for experiments on one system")
        return self

    @property
    def baselines(self) -> list[str]:
        """What stands beside the front."""
        return [BASELINES]

    @property
    def names(self) -> list[str]:
        """Names of the systems."""
        return [one.name for one in self.system]


def is_of_systems(table: object) -> bool:
    """Whether a config, as TOML, is one of several systems."""
    return isinstance(table, dict) and "system" in table


def parse_systems(table: Mapping[str, TomlValue], source: str) -> SystemsConfig:
    """Validate a table; `source` is named in errors.

    Raises:
        BadRequestError: With the key and what is wrong with its value.
    """
    try:
        return SystemsConfig.model_validate(table)
    except ValidationError as error:
        raise BadRequestError(f"{source}: {first_error(error, table, SystemsConfig)}") from None


def paths_beside(table: dict[str, TomlValue], folder: Path) -> None:
    """Make the relative paths of every system's data start from the config's folder, in place."""
    systems = table.get("system")
    for system in systems if isinstance(systems, list) else []:
        if isinstance(system, dict):
            beside(system.get("data"), folder)
