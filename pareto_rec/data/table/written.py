"""Form of text files in a config; what it leaves out is detected from the files."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

WHITESPACE = "whitespace"


class Section(BaseModel):
    """A part of the config: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Written(Section):
    """Form of text files, as a config gives it.

    Attributes:
        separator: Between fields, up to four characters, or ``whitespace`` for any run of blanks.
        quoting: Whether fields may stand in ``double`` or ``single`` quotes, or in ``none``: then a
            quote is a character like any other.
        escape: Character before a quote or separator that belongs to the text; "" is none.
        header: Whether the first line names the columns.
        names: Names of the columns where no line says them, or instead of that line.
        encoding: Name of the encoding; where it is left out, UTF-8, or UTF-16 with a mark.
        decimal: Between whole and fraction of numbers.
    """

    separator: str | None = Field(None, min_length=1)
    quoting: Literal["double", "single", "none"] | None = None
    escape: str | None = Field(None, max_length=1)
    header: bool | None = None
    names: list[str] = Field(default_factory=list)
    encoding: str | None = None
    decimal: Literal[".", ","] | None = None

    @field_validator("separator")
    @classmethod
    def _short(cls, value: str | None) -> str | None:
        if value is None or value == WHITESPACE:
            return value
        if len(value) > 4:
            raise ValueError(f'at most four characters, or "{WHITESPACE}"')
        if set(value) & set("\r\n\"'"):
            raise ValueError("neither a quote nor a line end can part fields")
        if not value.isascii():
            raise ValueError("ASCII characters alone")
        return value

    @field_validator("escape")
    @classmethod
    def _other(cls, value: str | None) -> str | None:
        if value and (not value.isascii() or value in "\"'\r\n"):
            raise ValueError('one ASCII character other than a quote, or "" for none')
        return value

    @field_validator("names")
    @classmethod
    def _apart(cls, value: list[str]) -> list[str]:
        if not all(name.strip() for name in value):
            raise ValueError("a name is empty")
        for name in value:
            if value.count(name) > 1:
                raise ValueError(f'two columns are named "{name}"')
        return value


OF_A_FILE = ("header", "names")  # of one kind of file; all else holds for the files beside the log
