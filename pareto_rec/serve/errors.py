"""Errors as HTTP responses: one line of JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from pareto_rec.core.errors import BadRequestError
from pareto_rec.serve.dispatcher import BusyError, LateError
from pareto_rec.serve.items_file import NotKeptError
from pareto_rec.serve.live_bundle import FullError


@dataclass(frozen=True)
class Problem:
    """Status, reason and further headers."""

    status: int
    reason: str
    headers: dict[str, str] = field(default_factory=dict)


FORESEEN: tuple[type[Exception], ...] = (
    *(BadRequestError, FullError, NotKeptError),
    *(BusyError, LateError),
)


def to_problem(error: Exception) -> Problem:
    """Return the response for one of the `FORESEEN` errors."""
    if isinstance(error, FullError):
        return Problem(409, "no more items can be added or changed; update the bundle")
    if isinstance(error, NotKeptError):
        return Problem(507, f"the items could not be kept: {error}; nothing has changed")
    if isinstance(error, BusyError):
        return Problem(503, "too many requests wait; try again", {"Retry-After": "1"})
    if isinstance(error, LateError):
        return Problem(504, "the answer did not come in time; ask for less, or try again")
    return Problem(422, str(error))
