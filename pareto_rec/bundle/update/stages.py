"""The questions that a bundle answers before and after an update."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pareto_rec.baselines.base import ItemModel
from pareto_rec.bundle import BundleData
from pareto_rec.bundle.collect import merged
from pareto_rec.bundle.data import CONTEXT, TRAIN, VALIDATION
from pareto_rec.bundle.scoring import Engine, torch_backend
from pareto_rec.data.schema import Interactions, Stage, Users
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.inputs import EvaluationData
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.config.sections import TrainConfig
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.ranking.backends import UserHistory
from pareto_rec.training.fit_store import FitStore

Values = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Questions:
    """Old and new rows as stages.

    Attributes:
        learn: What an update learns from; nothing is held out.
        old: The old validation set, from the histories of its time.
        new: The last of the new rows, from everything before them.
    """

    learn: Stage
    old: Stage
    new: Stage


def questions_of(parts: BundleData, learn: Interactions, held: Interactions) -> Questions:
    """Stages out of a bundle's rows and new ones.

    Args:
        parts: The bundle with new users and items; its rows are still the old ones.
        learn: New rows to learn from.
        held: New rows to predict, later than those.
    """
    old, part = parts.interactions, parts.part
    context = old.take(part <= CONTEXT)
    train = _log(old.take(part == TRAIN), learn)
    everything = _log(old, learn)
    label = hashlib.sha256(
        f"{old.content_hash} {learn.content_hash} {held.content_hash}".encode()
    ).hexdigest()

    def stage(name: str, history: Interactions, rows: Interactions) -> Stage:
        digest = hashlib.sha256(f"{label} {name}".encode()).hexdigest()
        return Stage(name, train, history, rows, parts.items, parts.users, digest)

    nothing = held.take(np.zeros(0, dtype=np.int64))
    return Questions(
        stage("update", everything, nothing),
        _of_those_asked(stage("validation", context, old.take(part == VALIDATION))),
        _of_those_asked(stage("new rows", everything, _sorted(held))),
    )


def _log(old: Interactions, new: Interactions) -> Interactions:
    """Rows of both by user, then time."""
    logs = _plain(old), _plain(new)
    return merged([(rows, np.zeros(len(rows), dtype=np.int64)) for rows in logs])[0]


def _plain(rows: Interactions) -> Interactions:
    """Without where rows were shown, which new ones do not say."""
    return replace(rows, position=None, propensity=None)


def _sorted(rows: Interactions) -> Interactions:
    return rows.take(np.lexsort([rows.time, rows.user]))


def _of_those_asked(stage: Stage) -> Stage:
    """The stage with the users alone who have held-out rows; training rows stay everybody's."""
    asked = np.unique(stage.held_out.user)
    place = np.full(len(stage.users), -1, dtype=np.int64)
    place[asked] = np.arange(len(asked))

    def own(rows: Interactions) -> Interactions:
        kept = rows.take(place[rows.user] >= 0)
        return replace(kept, user=place[kept.user])

    attributes = {
        name: tuple(of[one] for one in asked) for name, of in stage.users.attributes.items()
    }
    users = Users(tuple(stage.users.ids[one] for one in asked), attributes, stage.users.min_group)
    return replace(
        stage, history=own(stage.history), held_out=own(stage.held_out), users=users,
        train=own(stage.train),
    )  # fmt: skip


def evaluator_of(
    parts: BundleData, stage: Stage, config: Path, work: Path, learn: Stage
) -> Evaluator:
    """The evaluator of a stage, with the config of the run that the bundle came from.

    Args:
        parts: The bundle.
        stage: What is asked.
        config: The run's config.
        work: Folder for what is computed on the way.
        learn: Everybody's rows, which popularity is counted on.
    """
    experiment = Experiment.of(load_config(config), work)
    scores = {name: _scores(model, stage) for name, model in parts.experts.items()}
    # networks read what they read before: components are not found anew with every item
    data = EvaluationData(
        stage, parts.features, scores, parts.about.relevance, learn=learn, vectors=parts.vectors
    )
    tasks = tuple(task for task in experiment.config.tasks if task.of_interactions)
    return Evaluator(
        data,
        replace(experiment.variables, tasks=tasks),
        experiment.objectives,
        train=TrainConfig(pack_size=1, device="cpu"),
        store=FitStore(work / "fits", stage.content_hash),
        seed=0,
    )


def _scores(model: ItemModel, stage: Stage) -> NDArray[np.float32]:
    """Scores ``[users, N]``; items that came after the expert was fitted say and get nothing."""
    known = len(model.bias)
    kept = stage.history.item < known
    counts = np.bincount(stage.history.user[kept], minlength=len(stage.users))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    scores = model.score(starts, stage.history.item[kept])
    return np.pad(scores, ((0, 0), (0, len(stage.items) - known)))


def values_of(parts: BundleData, evaluator: Evaluator) -> Values:
    """Point -> objective -> value of the bundle's lists for the users of an evaluator."""
    engine = Engine(parts, torch_backend(parts))
    rows = evaluator.stage
    ends = rows.history_indptr[1:-1]
    people = [UserHistory(items) for items in np.split(rows.history.item, ends)]
    found = {}
    for point in parts.about.points:
        serving, fit_ids = parts.serving(point.id), parts.networks(point.id)
        tasks = {fit_id: parts.fits[fit_id].shape.tasks for fit_id in fit_ids}
        scorers = engine.scorers(people, parts.experts_of(point.id), tasks)
        # how long it was trained is not what is compared
        fits = {fit_id: replace(parts.fits[fit_id], seconds=0.0) for fit_id in fit_ids}
        [measured] = evaluator.measuring.values(scorers, [serving], fits)
        found[point.id] = dict(measured.objectives)
    return found
