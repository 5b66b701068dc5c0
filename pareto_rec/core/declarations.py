"""Declarations of variables: default, limit, prose and sharing of a dataclass's fields.

A field that is declared by :func:`variable` needs nothing elsewhere: what a config may say, what
candidates of a pack have in common and the reference page are derived from its declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, cast

from pareto_rec.core.limits import Limit, Numbers, Weights

T = TypeVar("T")
_KEY = "declaration"  # in the metadata of a field


@dataclass(frozen=True)
class Declaration:
    """What is known of a variable besides its name.

    Attributes:
        default: Its value where nobody says otherwise.
        limit: What it may be.
        doc: What it is, one or more sentences in Markdown.
        shared: Whether candidates of a pack have its value in common; a function: whether they
            have in common what it returns of the value.
        needs: Whether it has any effect beside the other values; None: always.
    """

    default: Any  # of the field's type
    limit: Limit
    doc: str
    shared: bool | Callable[[Any], object] = False
    needs: Callable[[Any], bool] | None = None  # the argument is the dataclass it belongs to

    def common(self, value: object) -> object:
        """Return what candidates of a pack have in common of a value; None: nothing."""
        if callable(self.shared):
            return self.shared(value)
        return value if self.shared else None


def variable(
    default: T,
    limit: Limit,
    doc: str,
    *,
    shared: bool | Callable[[T], object] = False,
    needs: Callable[[Any], bool] | None = None,
) -> T:
    """Declare the field of a dataclass as a variable; the arguments are those of `Declaration`.

    Returns:
        The field, typed as its value because that is how dataclasses are written.
    """
    metadata = {_KEY: Declaration(default, limit, doc, shared, needs)}
    if isinstance(default, Mapping):
        return cast(T, field(default_factory=lambda: dict(default), metadata=metadata))
    return field(default=default, metadata=metadata)


def declarations(build: type) -> dict[str, Declaration]:
    """Return the declarations of a dataclass by the names of its fields, in their order.

    Raises:
        TypeError: If a field is not declared by :func:`variable`.
    """
    declared = {}
    for one in fields(build):
        if _KEY not in one.metadata:
            raise TypeError(f"{build.__name__}.{one.name} is not declared by variable(...)")
        declared[one.name] = one.metadata[_KEY]
    return declared


def limits_of(build: type, names: Mapping[str, Collection[str]] | None = None) -> dict[str, Limit]:
    """Return what every variable of a dataclass may be.

    Args:
        build: The dataclass.
        names: Variable that is a table -> names that a config adds to those known to all. Weights
            may then stand beside each of them; of `Numbers` each becomes a variable of its own.
    """
    limits = {name: one.limit for name, one in declarations(build).items()}
    for table, added in (names or {}).items():
        limit = limits[table]
        if isinstance(limit, Weights):
            limits[table] = replace(limit, also=(*limit.also, *added))
        elif isinstance(limit, Numbers):
            limits |= {limit.key(name): limit.each for name in added}
    return limits


def common_values(values: Any) -> tuple[object, ...]:  # Any: an instance of a dataclass
    """Return what candidates must have in common to share a pack with one of these values."""
    return tuple(
        one.common(getattr(values, name))
        for name, one in declarations(type(values)).items()
        if one.shared
    )


def without_idle(values: T) -> T:
    """Return values with what has no effect among them reset to its default."""
    plain = type(values)()
    idle = {
        name: getattr(plain, name)
        for name, one in declarations(type(values)).items()
        if one.needs is not None and not one.needs(values)
    }
    return replace(values, **idle)  # type: ignore[type-var]  # T is a dataclass
