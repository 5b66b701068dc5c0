"""Options of a table in a config: files, columns, signals, and the treatment of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from pareto_rec.data.table.written import OF_A_FILE, Section, Written

# NA may be Namibia and null a person: in ids and texts only unambiguous marks are missing values.
MISSING = ("", r"\N")

Duplicates = Literal["keep", "drop", "first", "last", "sum"]
OnBadRows = Literal["error", "skip"]


class Rule(Section):
    """A test of one column, or the values of one; a bare name is short for its column.

    In a config: ``"clicked"``, ``{ event = "purchase" }``, ``{ column = "rating", at_least = 4 }``,
    ``{ column = "Quantity", times = "UnitPrice" }``, ``{ column = "Code", matches = "^C" }``. With
    several tests all of them must hold. `equals`, `one_of`, `matches` and `missing` look at the
    text of the column, the others at its number.

    Attributes:
        column: Column that is looked at.
        event: Short for: the column of events equals this.
        times: Column that its values are multiplied by.
        equals: The text must be this.
        one_of: The text must be one of these.
        matches: A regular expression (RE2) that must be found in the text.
        missing: True: nothing may stand there; false: something must.
        at_least: Smallest number that passes.
        at_most: Largest number that passes.
        above: The number must be larger.
        below: The number must be smaller.
        why: What a report of dropped rows says.
    """

    column: str = ""
    event: str | None = None
    times: str | None = None
    equals: str | None = None
    one_of: list[str] | None = None
    matches: str | None = None
    missing: bool | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    why: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.column) == (self.event is not None):
            raise ValueError('needs either "column" or "event"')
        others = (self.equals, self.one_of, self.matches, self.missing)
        others += tuple(getattr(self, name) for name in NUMBERS)
        if self.event is not None and any(other is not None for other in others):
            raise ValueError('"event" is a test of its own and goes with no other')
        if self.times is not None and self.tests:
            raise ValueError('"times" makes a value and goes with no test')
        return self

    @field_validator("matches")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                pc.match_substring_regex(pa.array(["x"]), pattern=value)
            except pa.ArrowInvalid as error:
                raise ValueError(f"not a regular expression: {str(error)[:80]}") from None
        return value

    @property
    def tests(self) -> bool:
        """Whether it is a test, 1 or 0, and not the column's own values."""
        names = ("event", "equals", "one_of", "matches", "missing", *NUMBERS)
        return any(getattr(self, name) is not None for name in names)

    def description(self) -> str:
        """Describe the rule in words, for reports."""
        if self.why:
            return self.why
        parts = [f"event = {self.event}" if self.event is not None else self.column]
        names = ("times", "equals", "one_of", "matches", "missing", *NUMBERS)
        for name in names:
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name.replace('_', ' ')} {value}")
        return " ".join(parts)


NUMBERS = ("at_least", "at_most", "above", "below")


class RowNumber(Section):
    """The number of a row in place of its time: each user's rows stand oldest first.

    In a config: ``time = { row = true }``. Rows are numbered in the order of the files (as they are
    listed, those of a pattern or folder by name), within each user; rows of other users may lie
    between them. Numbers of different users do not compare.
    """

    row: bool

    @field_validator("row")
    @classmethod
    def _said(cls, value: bool) -> bool:
        if not value:
            raise ValueError('only true says something; without any order write time = ""')
        return value


class Columns(Section):
    """Names of the columns that every log has, or may have; what is left out is guessed.

    Where no single column identifies a user or an item, a template joins several, such as
    ``"{store} {till}"``; rows of equal text belong to one user or item.

    Attributes:
        user: Who: a column, or a template.
        item: What, in the same form.
        time: When; ``{ row = true }`` where the file says it by the order of its rows alone, ""
            where nothing is known of time.
        event: What happened, where events stand in one column.
        position: Position at which the item was shown, from 1.
        propensity: Probability that it was shown there.
    """

    user: str | None = None
    item: str | None = None
    time: RowNumber | str | None = None
    event: str | None = None
    position: str | None = None
    propensity: str | None = None

    @property
    def time_column(self) -> str | None:
        """Column of times; None where there is none."""
        return self.time if isinstance(self.time, str) and self.time else None

    @property
    def time_is_row(self) -> bool:
        """Whether the order of the rows stands for their times."""
        return isinstance(self.time, RowNumber)


class Bins(Section):
    """Edges of an attribute that is a number; a value at an edge belongs above it."""

    edges: list[float] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"edges": value} if isinstance(value, list) else value

    @field_validator("edges")
    @classmethod
    def _rising(cls, value: list[float]) -> list[float]:
        if any(b <= a for a, b in pairwise(value)):
            raise ValueError("edges must rise")
        return value


class _Side(Written):
    """Facts of users or items: from files of their own, or from columns of the log.

    How those files are written may be said here as for the log; what is not said holds as there,
    but for `header` and `names`.

    Attributes:
        files: Files of their own; none: the log's columns are read.
        id: Column of ids in those files; guessed where it is left out.
        attributes: Columns that make groups.
        bins: Attribute that is a number -> edges.
    """

    files: list[str] = Field(default_factory=list)
    id: str | None = None
    attributes: list[str] = Field(default_factory=list)
    bins: dict[str, Bins] = Field(default_factory=dict)

    @field_validator("files", "attributes", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.bins:
            if name not in self.attributes:
                raise ValueError(f'bins of "{name}", which is not one of the attributes')
        return self


class UserOptions(_Side):
    """Options of the users."""


class ItemOptions(_Side):
    """Options of the items.

    Attributes:
        text: What the backbone reads: a column, or a template such as ``"{name}, {brand}"``.
        title: What people are shown, in the same form; default: the text.
        categories: Column of categories; several of them are parted by `delimiter`.
        delimiter: Between the categories of one item.
        category_lists: Whether the categories of an item are written as a list, ``['a', 'b']``.
        words: Where there is no column of categories: so many of the texts' most frequent words
            stand for them.
        price: Column of prices; an item's price is the median over its rows.
        price_bands: Makes the attribute ``price_band``: bands of equally many items.
        same_text: Whether items of the same text are one item.
        without_rows: Whether items of their own files that no row mentions are kept.
    """

    text: str | None = None
    title: str | None = None
    categories: str | None = None
    delimiter: str = Field("|", min_length=1)
    category_lists: bool = False
    words: int = Field(0, ge=0)
    price: str | None = None
    price_bands: int = Field(0, ge=0)
    same_text: bool = False
    without_rows: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.words and self.categories is not None:
            raise ValueError("words stand for categories only where no column names them")
        return self

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.price_bands and self.price is None:
            raise ValueError('price_bands needs "price"')
        return self


class Core(Section):
    """Fewest rows that a user and an item must have; applied until nothing changes."""

    user: int = Field(1, ge=1)
    item: int = Field(1, ge=1)


class TableOptions(Written):
    """Options of reading a table.

    Attributes:
        files: CSV (plain, gzip, zip) or Parquet; paths, patterns or folders, with ``${VARIABLE}``.
        columns: Who, what, when.
        event: Only rows of these events are read; none: all.
        signals: Signal -> rule; none: one signal that every row has.
        against: Signals that speak against an item (cancelled, disliked).
        drop: Rows for which any of these holds are dropped, and counted.
        items: Options of the items.
        users: Options of the users.
        missing: Texts of missing values in any column; columns of numbers know more of them.
        time_format: ``s``, ``ms``, ``us``, ``ns``, ``iso``, or a pattern as ``%d/%m/%Y %H:%M``;
            guessed where it is left out.
        time_zone: Of times that name none.
        on_bad_rows: Whether a row that cannot be read ends it all, or is skipped and reported.
        duplicates: Rows of one user and item: keep them all, drop rows that are equal in all that
            is read, keep the first or the last, or sum their signals into the first.
        k_core: Fewest rows per user and item.
        min_group: Measures between groups leave out groups with fewer measured users.
    """

    files: list[str] = Field(default_factory=list)
    columns: Columns = Columns()
    event: list[str] = Field(default_factory=list)
    signals: dict[str, Rule] = Field(default_factory=dict)
    against: list[str] = Field(default_factory=list)
    drop: list[Rule] = Field(default_factory=list)
    items: ItemOptions = ItemOptions()
    users: UserOptions = UserOptions()
    missing: list[str] = Field(default_factory=lambda: list(MISSING))
    time_format: str | None = None
    time_zone: str = "UTC"
    on_bad_rows: OnBadRows = "error"
    duplicates: Duplicates = "keep"
    k_core: Core = Core()
    min_group: int = Field(1, ge=1)

    @field_validator("files", "event", "against", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _signals_known(self) -> Self:
        for name in self.against:
            if name not in self.signals:
                raise ValueError(f'against: "{name}" is not one of the signals')
        if self.signals and set(self.against) == set(self.signals):
            raise ValueError("against: some signal must speak for an item")
        return self

    @model_validator(mode="after")
    def _rows_differ(self) -> Self:
        if self.columns.time_is_row and self.duplicates == "drop":
            raise ValueError(
                'duplicates = "drop" leaves out rows of equal time, and with columns.time = '
                '{ row = true } no two are equal: take "first" or "last"'
            )
        return self


def entity_options(options: TableOptions, entity: _Side) -> TableOptions:
    """Return the options of a table for the files of its items or users."""
    written = {name: getattr(entity, name) for name in Written.model_fields}
    changed = {n: v for n, v in written.items() if n in OF_A_FILE or v is not None}
    return options.model_copy(update=changed)


def given(options: TableOptions) -> Mapping[str, Any]:
    """Return the options that differ from their defaults, ready for JSON."""
    values = {name: getattr(options, name) for name in TableOptions.model_fields}
    changed = {
        name: value
        for name, value in values.items()
        if value != TableOptions.model_fields[name].get_default(call_default_factory=True)
    }
    return TableOptions.model_construct(**changed).model_dump(
        include=set(changed), exclude_defaults=True
    )
