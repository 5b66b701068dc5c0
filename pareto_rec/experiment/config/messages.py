"""What a validator says of a config, in plain words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pareto_rec.core.errors import plain_number, shown

_KINDS = {  # kind of error -> what a value should have been
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {  # kind of error -> words, key of its context
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_LENGTHS = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}
_PATTERN = "letters, digits, dots, dashes and underscores, with a letter or a digit at first"

Place = tuple[int | str, ...]


def first_error(error: ValidationError, given: object, model: type[BaseModel]) -> str:
    """The first error as ``key: what is wrong``, with the nearest key for an unknown one.

    Args:
        error: What the validator raised.
        given: What it was given.
        model: The model that it should have been.
    """
    problems = error.errors(include_url=False)
    places = [_place(problem, given) for problem in problems]
    first, place = problems[0], places[0]
    key = ".".join(map(str, place))
    more = f" (and {len(set(places)) - 1} more)" if len(set(places)) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, place[:-1], given)
        near = difflib.get_close_matches(str(place[-1])[:60], known, n=1, cutoff=0.4)
        near = [".".join([*map(str, place[:-1]), name]) for name in near]
        hint = f'; did you mean "{near[0]}"?' if near else f"; known here: {', '.join(known)}"
        return f'unknown key "{_short(key)}"{hint}{more}'
    if first["type"] == "missing":
        return f'key "{key}" is missing{more}'
    same = [one for one, where in zip(problems, places, strict=True) if where == place]
    return f"{_short(key)}: {_said(same)}{more}"


def _short(key: str) -> str:
    return key if len(key) <= 100 else f"{key[:97]}..."


def _place(problem: ErrorDetails, given: object) -> Place:
    """Where in the config it is: the validator puts in names of its own, which are left out."""
    found: list[int | str] = []
    for part in problem["loc"]:
        if isinstance(given, Mapping):
            known = part in given
        else:
            known = isinstance(given, list) and isinstance(part, int) and part < len(given)
        if known:
            given = given[part]  # type: ignore[index]  # it is one of both
            found.append(part)
    if problem["type"] == "missing":
        found.append(problem["loc"][-1])
    return tuple(found)


def _said(problems: Sequence[ErrorDetails]) -> str:
    """What is wrong in one place; several kinds that would have done are all named."""
    first = problems[0]
    kind, context = first["type"], first.get("ctx", {})
    value = f", not {shown(first['input'])}"
    if kind in _KINDS:
        kinds = dict.fromkeys(_KINDS[one["type"]] for one in problems if one["type"] in _KINDS)
        if "a number" in kinds:
            kinds.pop("a whole number", None)
        return f"must be {' or '.join(kinds)}{value}"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"must be {words} {plain_number(context[name])}{value}"
    if kind in _LENGTHS:
        words, name = _LENGTHS[kind]
        return f"needs {words} {context[name]} entries and has {context['actual_length']}"
    if kind in ("string_too_short", "string_too_long"):
        words, name = _LENGTHS[kind.removeprefix("string_")]
        count = context[name]
        return f"needs {words} {count} character{'s' if count > 1 else ''}{value}"
    if kind == "literal_error":
        return f"must be {context['expected']}{value}"
    if kind == "union_tag_invalid":
        return f"kind must be one of {context['expected_tags']}, not {shown(context['tag'])}"
    if kind == "union_tag_not_found":
        return 'its key "kind" is missing'
    if kind == "string_pattern_mismatch":
        return f"must be made of {_PATTERN}{value}"
    if kind == "value_error":
        return f"{first['msg'].removeprefix('Value error, ')}{value}"
    message = first["msg"].removeprefix("Input ")
    return f"{message[:1].lower()}{message[1:]}{value}"


def _known_keys(section: Any, position: Sequence[int | str], given: Any) -> list[str]:
    """Return the keys of the section at a position of the config."""
    for part in position:
        if hasattr(section, "model_fields"):
            section = section.model_fields[str(part)].annotation
        else:  # an entry of a list or of a table of sections
            section = get_args(section)[-1]
        given = given[part]
        if get_origin(section) is Annotated:
            section = get_args(section)[0]
        if type(None) in get_args(section):  # a section that may be left out
            section = get_args(section)[0]
        section = _of_kind(section, given)
    return list(section.model_fields)


def _of_kind(section: Any, given: Any) -> Any:
    """Return the one of several sections that is of the kind that a table names."""
    for one in get_args(section):
        kind = getattr(one, "model_fields", {}).get("kind")
        known = () if kind is None else get_args(kind.annotation)
        if isinstance(given, Mapping) and given.get("kind") in known:
            return one
    return section
