"""Limits of training and serving variables: a config's are checked before any work is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice, product
from typing import Any

import numpy as np

from pareto_rec.core.declarations import declarations, limits_of
from pareto_rec.core.errors import FORMER_NAMES, BadRequestError, renamed, unknown
from pareto_rec.core.limits import Limit, Number, Numbers, Weights
from pareto_rec.models.attention_pooling import AttentionPooling
from pareto_rec.objectives.gains import BOOSTS, boosted, split_gain
from pareto_rec.ranking import ServingParams
from pareto_rec.search.space import (
    Choice,
    Integer,
    Real,
    SearchSpace,
    Simplex,
    Variable,
)
from pareto_rec.tasks import Task, exponent_names
from pareto_rec.training.spec import TrainSpec

_MOST_SHAPES = 100_000  # combinations of width and heads that are looked at


def check_variables(
    fixed: Mapping[str, Any],
    serving: Mapping[str, Any],
    space: SearchSpace,
    tasks: Sequence[Task] = (),
) -> None:
    """Refuse a variable, fixed or searched, that is unknown or has an impossible option.

    Args:
        fixed: Training variables that are not searched.
        serving: Serving variables that are not searched.
        space: Those that are.
        tasks: Tasks of the config: each adds a loss and an exponent.

    Raises:
        BadRequestError: Names the key, the bound and, for a name, the known ones.
    """
    losses = [one.key for one in tasks]
    families = {
        "exponents": tuple(exponent_names(tasks).values()),
        "boosts": _known_gains([*serving, *space.serve], serving.get("boosts")),
    }
    train_limits = limits_of(TrainSpec, {"loss_weights": losses})
    serve_limits = limits_of(ServingParams, families)
    for family, known in families.items():
        _check_names(f"serving.{family}", serve_limits[family], serving.get(family), known)
    check_table("fixed", fixed, "space.train", space.train, train_limits, "training variable")
    check_table("serving", serving, "space.serve", space.serve, serve_limits, "serving variable")
    _check_shapes(fixed, space)


def check_table(
    fixed_key: str,
    fixed: Mapping[str, Any],
    space_key: str,
    searched: Mapping[str, Variable],
    limits: Mapping[str, Limit],
    kind: str,
) -> None:
    """Refuse fixed values and searched variables that are unknown, impossible, or both at once.

    Args:
        fixed_key: Key of the config that holds the fixed values.
        fixed: These.
        space_key: Key of the config that holds the searched variables.
        searched: These.
        limits: What every known variable may be.
        kind: What a variable is, for messages.

    Raises:
        BadRequestError: Names the key, the bound and, for a name, the known ones.
    """
    for name, value in fixed.items():
        limit = _limit(f"{fixed_key}.{name}", kind, name, limits)
        if name in searched and not searched[name].when:
            raise BadRequestError(
                f"{fixed_key}.{name}: {space_key}.{name} searches it; remove one of both"
            )
        _within(f"{fixed_key}.{name}", limit, [value])
    for name, variable in searched.items():
        key = f"{space_key}.{name}"
        limit = _limit(key, kind, name, limits)
        _within(key, limit, _extremes(key, limit, variable))


def check_smoke(table: Mapping[str, Any], above: str = "") -> None:
    """Refuse former names of training variables in ``[smoke]``, also without ``--smoke``.

    Args:
        table: Dotted keys, or tables of them.
        above: The key of the table, with a dot at its end.

    Raises:
        BadRequestError: Names the key and what the variable is called now.
    """
    for name, value in table.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            check_smoke(value, f"{key}.")
        for part in ("fixed.", "space.train."):
            variable = key.removeprefix(part).partition(".")[0]
            if key.startswith(part) and variable in FORMER_NAMES:
                raise BadRequestError(f"smoke.{key}: {renamed(variable)}")


def _known_gains(variables: Iterable[str], table: object) -> tuple[str, ...]:
    """Return the gains that boosts name; whether the data has them is looked at once it is read."""
    named = (*boosted(variables), *(table if isinstance(table, Mapping) else ()))
    for name in named:
        try:
            split_gain(name)
        except BadRequestError as error:
            raise BadRequestError(f"{BOOSTS.key(name)}: {error}") from None
    return named


def _check_names(key: str, limit: Limit, table: object, known: Collection[str]) -> None:
    """Refuse a number of a family for a name that the config does not know."""
    if isinstance(table, Mapping) and isinstance(limit, Numbers):
        for name in table:
            if name not in known:
                raise unknown(f"{limit.kind} in {key}", name, known)


def _limit(key: str, kind: str, name: str, limits: Mapping[str, Limit]) -> Limit:
    if name not in limits:
        raise BadRequestError(f"{key}: {unknown(kind, name, limits)}")
    return limits[name]


def _within(key: str, limit: Limit, values: Iterable[Any]) -> None:
    for value in values:
        try:
            limit.check(value)
        except BadRequestError as error:
            raise BadRequestError(f"{key}: {error}") from None


def _extremes(key: str, limit: Limit, variable: Variable) -> list[Any]:
    """Values of a variable that are in range only if all of them are."""
    if isinstance(limit, Numbers):
        raise BadRequestError(f"{key}: search {limit.pattern} of a {limit.kind} instead")
    if isinstance(limit, Weights) != isinstance(variable, Simplex):
        needs = "" if isinstance(limit, Weights) else "not "
        raise BadRequestError(f'{key}: this variable must {needs}be of kind "simplex"')
    match variable:
        case Simplex(names=names):
            return [dict.fromkeys(names, 1.0)]
        case Choice(options=options):
            return list(options)
        case Real() if isinstance(limit, Number) and limit.whole:
            raise BadRequestError(f'{key}: this variable is a whole number; use kind = "integer"')
        case Real(low=low, high=high) | Integer(low=low, high=high):
            return [low, high]


def _check_shapes(fixed: Mapping[str, Any], space: SearchSpace) -> None:
    """Refuse widths that some number of heads does not divide, and positions that no model has."""
    defaults = {name: one.default for name, one in declarations(TrainSpec).items()}
    for train in islice(_shapes(space), _MOST_SHAPES):
        values = {**defaults, **fixed, **train}
        width, heads = values["width"], values["heads"]
        if width % heads:
            raise BadRequestError(
                f"width and heads: a width of {width} cannot be shared by {heads} heads; every "
                "width must be a multiple of every number of heads that it meets"
            )
        if values["positions"] > 1 and values["model"] == AttentionPooling.name:
            raise BadRequestError(
                f'positions: {values["positions"]} need model = "self_attention"; attention '
                "pooling predicts after the whole history alone, positions = 1"
            )


def _shapes(space: SearchSpace) -> Iterable[Mapping[str, Any]]:
    """Training values of every combination of what decides width, heads and positions."""
    deciding = {"width", "heads", "positions", "model"}
    while more := {other for n in deciding & set(space.train) for other in space.train[n].when}:
        if more <= deciding:
            break
        deciding |= more
    chosen = [space.train[name] for name in sorted(deciding) if name in space.train]
    axes = [(axis, one) for axis, one in space.discrete if any(one is c for c in chosen)]
    cube = np.full(space.dimension, 0.5)
    for values in product(*(_all(variable) for _, variable in axes)):
        for (axis, variable), value in zip(axes, values, strict=True):
            cube[axis] = variable.to_cube(value)[0]
        yield space.decode(cube).train


def _all(variable: Integer | Choice) -> Iterable[Any]:
    if isinstance(variable, Choice):
        return variable.options
    return range(variable.low, variable.high + 1)


def check_rungs(fixed: Mapping[str, Any], space: SearchSpace, rungs: Sequence[int]) -> None:
    """Refuse rungs at which some fit could not be stopped.

    Args:
        fixed: Training variables that are not searched.
        space: The decision variables.
        rungs: Steps after which fits are compared, ascending.

    Raises:
        BadRequestError: If a rung is no look at validation, or lies not below the last step.
    """
    plain = TrainSpec()
    for name in ("steps", "check_every"):
        if rungs and name in space.train:
            raise BadRequestError(f"search.fidelity: {name} cannot be searched beside it; fix it")
    every = fixed.get("check_every", plain.check_every)
    steps = fixed.get("steps", plain.steps)
    for rung in rungs:
        if rung % every:
            raise BadRequestError(
                f"search.fidelity.rungs: {rung} is no multiple of fixed.check_every = {every}, "
                "after which fits are looked at"
            )
        if rung >= steps:
            raise BadRequestError(
                f"search.fidelity.rungs: {rung} is not below fixed.steps = {steps}"
            )
