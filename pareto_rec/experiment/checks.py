"""Checks of an experiment: its tasks against its losses, its objectives against its data."""

from __future__ import annotations

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation.measurement import ObjectiveSet
from pareto_rec.evaluation.task_predictions import predicted_by
from pareto_rec.experiment.config import Config
from pareto_rec.objectives.catalogue import OF_ITEMS
from pareto_rec.search.space import Choice, SearchSpace
from pareto_rec.tasks import BUILT_IN, EXPONENTS, check_losses

_SHORT = 100  # places of a list that may be more than there are items; the rest stays empty


def check_task_losses(config: Config, space: SearchSpace) -> None:
    """Refuse chains that lack a part, and the name of a task that a signal predicted has."""
    searched = space.train.get("chain")
    ways = searched.options if isinstance(searched, Choice) else [config.fixed.get("chain", "esmm")]
    for way in ways:
        check_losses(config.tasks, config.losses, str(way))
    own = [one for one in config.tasks if one.name not in BUILT_IN]
    if any(one.name == config.data.liked for one in own):
        raise BadRequestError(
            f'task "{config.data.liked}": data.liked has this name; call the task otherwise'
        )
    if own and not any(one.key in config.losses for one in own):
        keys = ", ".join(f'"{one.key}"' for one in own)
        raise BadRequestError(f"no loss trains a task: add {keys} to loss_weights")
    for one in config.tasks:
        name = EXPONENTS.key(one.name)
        given = name in {**config.serving, **space.serve}
        if given and one.name in BUILT_IN and one.key not in config.losses:
            raise BadRequestError(
                f'{name} has no effect, as no loss trains the task: add "{one.key}" to '
                f"loss_weights, or remove {name}"
            )


def check_objectives(config: Config, objectives: ObjectiveSet, stage: Stage) -> None:
    """Refuse objectives on what the data does not have or the fits do not predict.

    Args:
        config: The experiment's config.
        objectives: Its objectives.
        stage: What they are measured on.

    Raises:
        BadRequestError: If a signal or an attribute of users is not there, or is not predicted.
    """
    predicted = predicted_by(config.tasks, config.losses)
    attributes = {**stage.users.attributes}
    attributes |= {f"{OF_ITEMS}{name}": of for name, of in stage.items.attributes.items()}
    for objective in objectives.all:
        objective.check(
            signals=stage.held_out.signals,
            attributes=attributes,
            predicted=predicted,
        )
        if "categories" in objective.reads and not stage.items.categories.any():
            raise BadRequestError(
                f"objective {objective.name} looks at categories of items and no item of this data "
                "has one: name their column in data.items.categories, or leave the objective out"
            )
        if "price" in objective.needs and stage.items.prices is None:
            raise BadRequestError(
                f"objective {objective.name} needs prices of items and this data has none: name "
                "their column in data.items.price"
            )
        if "shown" in objective.needs and stage.held_out_shown is None:
            raise BadRequestError(
                f"objective {objective.name} compares answered impressions with unanswered "
                "ones and this data has no row without an answer: leave it out, or bring the "
                "impressions too"
            )
    for objective in objectives.all:
        if objective.takes_k and objective.k > max(len(stage.items), _SHORT):
            raise BadRequestError(
                f"objective {objective.name} looks at the first {objective.k:,} places and this "
                f"data has {len(stage.items):,} items: lower the number behind the @"
            )
