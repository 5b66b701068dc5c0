"""Values that were used last, kept up to a number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LastUsed(Generic[Value]):
    """Up to so many values by name; the one that was not used for longest goes first."""

    def __init__(self, most: int) -> None:
        """Start empty.

        Args:
            most: How many are kept.
        """
        self._most = most
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, name: str, make: Callable[[str], Value]) -> Value:
        """Return the value of a name, made where it is not kept."""
        if name in self._values:
            self._values.move_to_end(name)
            return self._values[name]
        value = self._values[name] = make(name)
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return value
