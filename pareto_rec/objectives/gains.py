"""Gains: what a hit on an item is worth, for the metrics that weigh hits and for boosts alike.

A list that maximises the expected gain of its hits ranks items by ``p(i | u) g(i)``, that is by
``log p + log g``: what a metric weighs hits by is also what a boost adds to the fused score (the
probability ranking principle with unequal gains: Robertson, The probability ranking principle in
IR, Journal of Documentation 1977).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.limits import Number, Numbers
from pareto_rec.objectives.catalogue import Catalogue

Floats = NDArray[np.float64]

BOOSTS = Numbers("gain", Number(low=-100, high=100), "boost.NAME")
"""Weights of gains in the ranking: the serving variables ``boost.NAME``."""

_LEAST = 0.01  # of the mean gain: what is worth nothing has a logarithm too


def _tail(catalogue: Catalogue) -> Floats:
    worth: Floats = np.where(catalogue.head, 0.0, 1.0)
    return worth


def _novelty(catalogue: Catalogue) -> Floats:
    return catalogue.novelty


def _cold(catalogue: Catalogue) -> Floats:
    return np.asarray(catalogue.popularity == 0, dtype=np.float64)


def _price(catalogue: Catalogue) -> Floats:
    if catalogue.items.prices is None:
        raise BadRequestError("the items have no prices; name their column in data.items.price")
    return np.asarray(catalogue.items.prices, dtype=np.float64)


def _category(catalogue: Catalogue, value: str) -> Floats:
    names = catalogue.items.category_names
    if value not in names:
        raise unknown("category", value, names)
    within = catalogue.items.categories[:, names.index(value)] > 0
    worth: Floats = np.where(within, 1.0, 0.0)
    return worth


def _signal(catalogue: Catalogue, value: str) -> Floats:
    if catalogue.mean_signal is None:
        raise BadRequestError(f'the values of the signal "{value}" are not known here')
    return catalogue.mean_signal(value)


def _attribute(catalogue: Catalogue, attribute: str, value: str) -> Floats:
    names, codes = catalogue.item_groups(attribute)
    if value not in names:
        raise unknown(f'value of the item attribute "{attribute}":', value, names)
    return np.asarray(codes == names.index(value), dtype=np.float64)


GAINS: Mapping[str, Callable[[Catalogue], Floats]] = MappingProxyType(
    {"tail": _tail, "novelty": _novelty, "cold": _cold, "price": _price}
)
"""Gain -> what a hit on each item is worth ``[items]``, NaN where that is not known.

``tail`` is 1 outside the head and 0 in it, ``novelty`` the popularity complement of EPC, ``cold`` 1
for items without a training row, ``price`` the price.
"""

FAMILIES: Mapping[str, Callable[[Catalogue, str], Floats]] = MappingProxyType(
    {"category": _category, "signal": _signal}
)
"""Family -> gain of a value: ``category=VALUE`` is 1 for items of that category, ``signal=NAME``
the mean value of a signal (a rating, an amount) in the training rows of an item, shrunk to that of
all rows. ``ATTRIBUTE=VALUE`` is 1 for items with that value of an attribute (a provider, a brand).
"""


def gain_of(catalogue: Catalogue, name: str) -> Floats:
    """Return what a hit on each item is worth ``[items]``; NaN where that is not known.

    Args:
        catalogue: The items.
        name: A key of `GAINS`, or ``FAMILY=VALUE``.

    Raises:
        BadRequestError: If there is no such gain, or the data does not have it.
    """
    family, value = split_gain(name)
    if value is None:
        return GAINS[family](catalogue)
    if family in FAMILIES:
        return FAMILIES[family](catalogue, value)
    return _attribute(catalogue, family, value)


def weights_of_hits(catalogue: Catalogue, name: str) -> Floats | None:
    """Return what metrics weigh a hit on each item by ``[items]``: its gain, 0 where not known.

    Args:
        catalogue: The items.
        name: As `gain_of` takes it.

    Returns:
        None where the data does not have the gain.

    Raises:
        BadRequestError: If there is no such gain.
    """
    split_gain(name)
    try:
        return np.nan_to_num(gain_of(catalogue, name))
    except BadRequestError:
        return None


def split_gain(name: str) -> tuple[str, str | None]:
    """Split ``FAMILY=VALUE``; the value is None for a key of `GAINS`.

    Raises:
        BadRequestError: If it is neither.
    """
    family, equals, value = name.partition("=")
    if not equals and family not in GAINS:
        raise unknown("gain", name, [*GAINS, *(f"{one}=..." for one in FAMILIES), "ATTRIBUTE=..."])
    return family, value if equals else None


def boost_of(catalogue: Catalogue, name: str) -> NDArray[np.float32]:
    """Return the standardised log gain ``[items]`` that ``boost.NAME`` weighs: mean 0, deviation 1.

    Gains below a hundredth of the mean gain count as that hundredth; an item whose gain is not
    known counts as the least one that is known, so that missing values win nothing.

    Raises:
        BadRequestError: If there is no such gain, the data does not have it, or it is the same for
            all items.
    """
    try:
        gain = gain_of(catalogue, name)
    except BadRequestError as error:
        raise BadRequestError(f"{BOOSTS.key(name)}: {error}") from None
    known = gain[np.isfinite(gain)]
    if not len(known) or np.ptp(known) == 0:
        raise BadRequestError(
            f"{BOOSTS.key(name)}: this gain is the same for all items, so it tells none of them "
            "apart; remove the boost"
        )
    least = _LEAST * max(float(known.mean()), np.finfo(np.float64).tiny)
    logs = np.log(np.maximum(np.nan_to_num(gain, nan=float(known.min())), least))
    return np.asarray((logs - logs.mean()) / logs.std(), dtype=np.float32)


def boosts_of(catalogue: Catalogue, names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Return gain -> `boost_of` it, for some gains.

    Raises:
        BadRequestError: As `boost_of`.
    """
    return {name: boost_of(catalogue, name) for name in sorted(set(names))}


def with_boosts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return serving values with all boosts together under ``boosts``.

    Args:
        values: Serving values: ``boosts`` by gain, and ``boost.NAME`` over them.
    """
    own, others = dict(values.get("boosts") or {}), {}
    for key, value in values.items():
        name = BOOSTS.name_of(key)
        if name is not None:
            own[name] = float(value)
        elif key != "boosts":
            others[key] = value
    return {**others, "boosts": own} if own else others


def boosted(names: Iterable[str]) -> tuple[str, ...]:
    """Return the gains that serving variables of some names weigh: those of ``boost.NAME``."""
    return tuple(gain for name in names if (gain := BOOSTS.name_of(name)) is not None)
