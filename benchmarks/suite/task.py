"""The experiment that benchmarks are taken on: MovieLens 100K, three objectives, fixed for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.experiment.config import Config, parse_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.record import Record
from pareto_rec.search import Goal
from pareto_rec.search import pareto as front
from pareto_rec.training.fit_store import FitStore

CONFIG: Mapping[str, Any] = {
    "name": "benchmark",
    "question": "What does an evaluated point cost?",
    "data": {"name": "movielens-100k"},
    "objective": [
        {"name": "ndcg@10", "reference": 0.10, "at_least": 0.10},
        {"name": "ild@10", "reference": 0.65},
        {"name": "tail_ndcg@10", "reference": 0.0},
    ],
    "fixed": {
        "model": "attention_pooling",
        "steps": 200,
        "matmul_dtype": "auto",
        "regularizer_rows": 256,
        "batch": 256,
        "history": 30,
        "width": 64,
        "heads": 2,
    },
    "space": {
        "train": {
            "loss_weights": {
                "kind": "simplex",
                "names": ["softmax", "liked", "negative_entropy", "similarity", "popularity"],
                "floor": {"softmax": 0.55, "negative_entropy": 0.2},
            },
            "learning_rate": {"kind": "real", "low": 0.008, "high": 0.03, "log": True},
            "temperature": {"kind": "real", "low": 0.3, "high": 1.5, "log": True},
            "weight_decay": {"kind": "real", "low": 0.01, "high": 1.0, "log": True},
            "dropout": {"kind": "real", "low": 0.0, "high": 0.4},
            "item_dropout": {"kind": "real", "low": 0.0, "high": 0.3},
            "horizon": {"kind": "choice", "options": [5, 10, 20]},
        },
        "serve": {
            "fusion": {
                "kind": "simplex",
                "names": ["network", "ease_recency", "item_knn_recency", "ease"],
                "floor": {"network": 0.2},
            },
            "liked_exponent": {"kind": "real", "low": 0.0, "high": 2.0},
            "popularity_penalty": {"kind": "real", "low": -0.2, "high": 1.8},
            "mmr": {"kind": "real", "low": 0.0, "high": 0.9},
            "depth": {"kind": "integer", "low": 15, "high": 320, "log": True},
        },
    },
}


@dataclass(frozen=True)
class Problem:
    """The experiment, ready to be evaluated.

    Attributes:
        experiment: The experiment.
        evaluator: Of the validation stage.
    """

    experiment: Experiment
    evaluator: Evaluator

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What is searched on."""
        return self.experiment.goals

    def fresh(self, folder: Path) -> Problem:
        """The same with an empty store of fits, so that nothing is remembered."""
        store = FitStore(folder, self.evaluator.store.data_key)
        return replace(self, evaluator=self.evaluator.with_(store=store))

    def hypervolume(self, records: Iterable[Record]) -> float:
        """Hypervolume x 1000 of the feasible records."""
        values = [
            [record.objectives[goal.name] for goal in self.goals]
            for record in records
            if record.status == "ok" and self.feasible(record)
        ]
        return 1000 * front.hypervolume(
            np.array(values).reshape(len(values), len(self.goals)),
            reference=[goal.reference for goal in self.goals],
            maximise=[goal.maximise for goal in self.goals],
        )

    def feasible(self, record: Record) -> bool:
        """Whether a record keeps the constraints."""
        return all(
            goal.at_least is None or record.objectives[goal.name] >= goal.at_least
            for goal in self.goals
        )


def config(fixed: Mapping[str, Any], search: Mapping[str, Any]) -> Config:
    """The config, with some of its training variables fixed and its search set otherwise."""
    table = {**CONFIG, "fixed": {**CONFIG["fixed"], **fixed}}
    return parse_config(table | {"search": {"population": 16, "sweep": 24, **search}}, "benchmark")


def problem(
    cache: Path,
    *,
    fixed: Mapping[str, Any] = MappingProxyType({}),
    search: Mapping[str, Any] = MappingProxyType({}),
) -> Problem:
    """Read data, features and experts; the first time that takes a minute.

    Args:
        cache: Root of the cache.
        fixed: Fixed training variables to set otherwise.
        search: Settings of the search to set otherwise.
    """
    experiment = Experiment.of(config(fixed, search), cache)
    return Problem(experiment, experiment.evaluator())
