"""Columns of a table: named in the config, or guessed from their names."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.table.chunks import check_is_table, chunks, header, shown
from pareto_rec.data.table.files import File
from pareto_rec.data.table.guess import Guess
from pareto_rec.data.table.options import Columns, RowNumber, Rule, TableOptions
from pareto_rec.data.table.row_audit import RowAudit


def fields_of(template: str | None) -> list[str]:
    """Parse the columns of a template, or return the one column that it names.

    Raises:
        BadRequestError: If braces are left open.
    """
    if template is None:
        return []
    if "{" not in template:
        return [template]
    try:
        return [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise BadRequestError(f'template "{template}": {error}') from None


def item_columns(options: TableOptions) -> list[str]:
    """List the text columns that describe items."""
    items = options.items
    parts = [fields_of(template) for template in (items.text, items.title, items.categories)]
    return list(dict.fromkeys([name for part in parts for name in part] + items.attributes))


def resolve(options: TableOptions, files: Sequence[File], account: RowAudit) -> Columns:
    """Return the columns of a log, as the config names them or as their names suggest.

    Raises:
        BadRequestError: If no column of users or of items is recognised.
    """
    names = header(files[0], options)
    guess = Guess.of(names)
    resolved: dict[str, RowNumber | str | None] = {}
    for role in ("user", "item", "time"):
        named = getattr(options.columns, role)
        resolved[role] = named if named is not None else getattr(guess, role)
        if named is None and resolved[role]:
            account.notes[f"column of {role}s, guessed from its name"] = resolved[role]
        if role != "time" and not resolved[role]:
            check_is_table(files[0], options)
            raise BadRequestError(
                f"{files[0].name}: which column names the {role}? Set data.columns.{role} to one "
                f"of {', '.join(with_values(files[0], options, names))}"
            )
    wants_events = bool(options.event) or any(r.event is not None for r in rules_of(options))
    if wants_events and options.columns.event is None:
        resolved["event"] = guess.event
        account.notes["column of events, guessed from its name"] = guess.event
    return options.columns.model_copy(update=resolved)


def with_values(file: File, options: TableOptions, names: Sequence[str]) -> list[str]:
    """List the names of columns, each with its value in the first row."""
    for chunk in chunks(file, options, names):
        if chunk.table.num_rows:
            first = chunk.table.slice(0, 1)
            return [f'{n} (such as "{shown(first.column(n))[0][:24]}")' for n in names]
    return list(names)


def rules_of(options: TableOptions) -> list[Rule]:
    """List every rule that looks at rows."""
    return [*options.drop, *options.signals.values()]
