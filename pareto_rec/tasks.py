"""Tasks: predictions besides relevance, and what each is conditional on."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.limits import Numbers

PREFIX = "task:"
"""Before the name of a task where it names its loss and its parameters."""

BINARY, SQUARED = "binary_cross_entropy", "squared_error"
TASK_LOSSES = (BINARY, SQUARED)
CHAINS = ("esmm", "conditional")
INTERACTION = "interaction"
"""In place of a condition: learnt and predicted for interactions, not for what was shown."""

BUILT_IN = ("liked", "rating")
"""Tasks whose losses and parameters have their plain name."""

RELEVANCE = "relevance"
RESERVED = (RELEVANCE, *BUILT_IN, "network", INTERACTION)
EXPONENTS = Numbers("task", pattern="NAME_exponent")
"""Exponents of tasks in the ranking: the serving variables `NAME_exponent`."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class Task:
    """One thing that is predicted for a user and an item.

    Attributes:
        name: What it is called.
        signal: Signal of the log that holds its labels; a value above 0 is a positive outcome.
        loss: ``"binary_cross_entropy"`` for outcomes, ``"squared_error"`` for values.
        condition: Task whose positive outcome it is conditional on; None: on nothing but the
            impression; `INTERACTION`: on an interaction, as the training rows are.
        weight: Its exponent in the ranking, unless a serving variable says otherwise.
    """

    name: str
    signal: str
    loss: str = BINARY
    condition: str | None = None
    weight: float = 1.0

    @property
    def key(self) -> str:
        """Name of its loss among the loss weights, and of its parameters."""
        return key_of(self.name)

    @property
    def of_interactions(self) -> bool:
        """Whether it is learnt from interactions."""
        return self.condition == INTERACTION

    @property
    def output(self) -> str:
        """What objectives call its predictions: its name, or the signal that `data.liked` names."""
        return self.signal if self.name == "liked" else self.name


def key_of(name: str) -> str:
    """Return the name of the loss and of the parameters of a task."""
    return name if name in BUILT_IN else PREFIX + name


def is_task(loss: str) -> bool:
    """Tell whether the name of a loss is a task's."""
    return loss in BUILT_IN or loss.startswith(PREFIX)


def built_in(liked: str | None, losses: Collection[str]) -> tuple[Task, ...]:
    """Return the tasks that a config need not name; in a ranking they count by exponents alone.

    Args:
        liked: Signal of what was liked, given an interaction; None without one.
        losses: Names of the losses of the config, ``"rating"`` if ratings are predicted.
    """
    tasks = [Task("liked", liked, BINARY, INTERACTION, 0.0)] if liked else []
    if "rating" in losses:
        tasks.append(Task("rating", "rating", SQUARED, INTERACTION, 0.0))
    return tuple(tasks)


def check_tasks(tasks: Sequence[Task], signals: Collection[str] | None = None) -> None:
    """Refuse tasks that make no sense.

    Args:
        tasks: All of them.
        signals: Signals of the data; None where that is not known yet, and so not looked at.

    Raises:
        BadRequestError: For a name that is taken or cannot be one, an unknown signal, loss or
            condition, a condition that is not an outcome, or conditions in a circle.
    """
    known = {task.name: task for task in tasks}
    for index, task in enumerate(tasks):
        own = task.name in BUILT_IN and task.of_interactions
        _check_name(task.name, [other.name for other in tasks[:index]], built_in=own)
        if task.loss not in TASK_LOSSES:
            raise BadRequestError(f"task {task.name}: {unknown('loss', task.loss, TASK_LOSSES)}")
        if not math.isfinite(task.weight):
            raise BadRequestError(
                f"task {task.name}: weight = {task.weight} must be a finite number"
            )
        if signals is not None and task.signal not in signals:
            raise BadRequestError(f"task {task.name}: {unknown('signal', task.signal, signals)}")
        if task.condition is None or task.of_interactions:
            continue
        if task.condition not in known:
            raise BadRequestError(
                f"task {task.name}: {unknown('condition', task.condition, known)}"
            )
        if known[task.condition].of_interactions:
            raise BadRequestError(
                f'task {task.name}: its condition "{task.condition}" is known of interactions '
                "alone and cannot be one; name a task of what is shown"
            )
        if known[task.condition].loss != BINARY:
            raise BadRequestError(
                f'task {task.name}: its condition "{task.condition}" is a value, not an outcome; '
                f'a condition needs loss = "{BINARY}"'
            )
    graph = {task.name: {task.condition} & known.keys() for task in tasks}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise BadRequestError(f"conditions of tasks go in a circle: {circle}; drop one") from None


def _check_name(name: str, before: Collection[str], *, built_in: bool) -> None:
    if not _NAME.fullmatch(name):
        raise BadRequestError(
            f'task "{name}": a name is made of letters, digits and "_", and begins with a letter'
        )
    if name in RESERVED and not built_in:
        raise BadRequestError(f'task "{name}": this name is taken; choose another')
    if name in before:
        raise BadRequestError(f'task "{name}" is there twice; names of tasks must differ')


def chain_of(tasks: Sequence[Task], name: str) -> tuple[Task, ...]:
    """Return a task and what it is conditional on, the first condition first, the task last.

    Raises:
        BadRequestError: If there is no such task.
    """
    known = {task.name: task for task in tasks}
    chain: list[Task] = []
    wanted: str | None = name
    while wanted is not None and wanted != INTERACTION:
        if wanted not in known:
            raise unknown("task", wanted, known)
        chain.append(known[wanted])
        wanted = known[wanted].condition
    return tuple(reversed(chain))


def product_name(chain: Sequence[Task]) -> str:
    """Return the name of the product of a chain's probabilities: ``"click*conversion"``."""
    return "*".join(task.name for task in chain)


def trained(tasks: Sequence[Task], losses: Collection[str]) -> tuple[Task, ...]:
    """Return the tasks whose loss is trained on; the others are conditions alone."""
    return tuple(task for task in tasks if task.key in losses)


def outputs(tasks: Sequence[Task], losses: Collection[str]) -> tuple[str, ...]:
    """Return the outputs: every trained task, and the products of trained chains of outcomes."""
    own = trained(tasks, losses)
    names = [task.name for task in own]
    chains = [chain_of(tasks, task.name) for task in own if task.loss == BINARY]
    complete = [chain for chain in chains if len(chain) > 1 and all(part in own for part in chain)]
    return (*names, *(product_name(chain) for chain in complete))


def check_losses(tasks: Sequence[Task], losses: Collection[str], chain: str) -> None:
    """Refuse losses of tasks that are not there, and chains that lack a part.

    Args:
        tasks: All tasks.
        losses: Names of the losses of a fit.
        chain: The training variable of that name.

    Raises:
        BadRequestError: Names the loss.
    """
    known = [task.key for task in tasks]
    for name in losses:
        if is_task(name) and name not in known:
            if name == "liked":
                raise BadRequestError(
                    'loss "liked" needs a signal of what was liked: name it in data.liked'
                )
            if name in BUILT_IN or not any(task.startswith(PREFIX) for task in known):
                raise BadRequestError(f'loss "{name}" needs a [[task]] of that name')
            raise unknown("loss", name, known)
    if chain != "esmm":
        return
    for task in trained(tasks, losses):
        for other in chain_of(tasks, task.name):
            if other.key not in losses and task.loss == BINARY:
                raise BadRequestError(
                    f'chain = "esmm" learns task {task.name} through its product with '
                    f'{other.name}: add the loss "{other.key}", or set chain = "conditional"'
                )


def exponent_names(tasks: Sequence[Task]) -> dict[str, str]:
    """Map serving variables to what they are exponents of; empty where there is no task."""
    names = [task.name for task in tasks] + ([RELEVANCE] if tasks else [])
    return {EXPONENTS.key(name): name for name in names}


def with_exponents(values: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
    """Return serving values with the exponents of all tasks together under ``exponents``.

    Args:
        values: Serving values: ``exponents`` by task, and ``NAME_exponent`` over them.
        tasks: All tasks; where neither says otherwise a task's exponent is its weight.
    """
    if not tasks:
        return dict(values)
    names = exponent_names(tasks)
    exponents = {task.name: task.weight for task in tasks} | dict(values.get("exponents") or {})
    exponents |= {names[key]: float(value) for key, value in values.items() if key in names}
    others = {key: value for key, value in values.items() if key not in names}
    return {**others, "exponents": exponents}
