"""Tuning of baselines: parameters that do best on validation data, computed once per data set."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from threadpoolctl import threadpool_limits

from pareto_rec.baselines import Baseline, ItemModel, ScoresOnDemand, expert_key
from pareto_rec.baselines.parameters import Value
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.sealed import read_json, write_json
from pareto_rec.core.seeds import child_seed
from pareto_rec.data.sample import sample_users
from pareto_rec.data.schema import Stage
from pareto_rec.data.ties import tie_ranks
from pareto_rec.evaluation.outcome_inputs import met_before
from pareto_rec.evaluation.parameter_search import Setting, search_parameters
from pareto_rec.evaluation.scorers import UserScorers
from pareto_rec.objectives import Catalogue, HeldOut, Outcome, UserObjective, parse
from pareto_rec.ranking import ServingParams, fused_scores, recommend
from pareto_rec.ranking.linear import densify_if_small
from pareto_rec.training.item_features import item_facts

MOST_SCORES = 20_000_000  # per setting; beyond it fewer users are measured
FEWEST_USERS = 200  # that are measured then, however large the catalogue is
_GIVEN = {"scores", "shown"}  # what a metric may need besides the lists


class TuningSettings(Protocol):
    """How parameters are chosen (`pareto_rec.experiment.config.sections.TuningConfig`)."""

    @property
    def settings(self) -> int:
        """Most settings of a baseline that are tried."""

    @property
    def seconds(self) -> float:
        """No further one is tried after as many."""

    @property
    def metric(self) -> str:
        """Objective that decides."""

    @property
    def users(self) -> int:
        """Most users that it is measured on."""


@dataclass(frozen=True)
class Choice:
    """Chosen parameters of one baseline.

    Attributes:
        parameters: Parameter -> value, of those that can be tuned.
        value: The metric on validation data with these; None where it could not be measured.
        default: The values that it had before.
        default_value: The metric with those.
        metric: Name of the metric.
        tried: Settings that were tried.
        seconds: What that took.
        cut_short: Whether the seconds ended it, so that a faster machine might choose another.
    """

    parameters: Mapping[str, Value]
    value: float | None
    default: Mapping[str, Value]
    default_value: float | None
    metric: str
    tried: int
    seconds: float
    cut_short: bool


def most_settings(baseline: Baseline, settings: TuningSettings) -> int:
    """Return how many settings of a baseline are tried at most."""
    return min(settings.settings, baseline.most_settings or settings.settings)


def check_metric(name: str) -> None:
    """Refuse a metric that baselines cannot be tuned by.

    Raises:
        BadRequestError: If it is no objective, or not one per user that reads nothing but lists,
            the scores that they are made from, and what was shown.
    """
    objective = parse(name)
    of_users = isinstance(objective, UserObjective)
    if not of_users or objective.needs - _GIVEN or objective.reads:
        raise BadRequestError(
            f'tuning.metric: "{name}" is not measured per user from lists and scores alone; take '
            'one of accuracy, as "ndcg@10", or "grouped_auc" of impressions'
        )


def check_metric_on(name: str, stage: Stage) -> None:
    """Refuse a metric that a stage cannot answer.

    Raises:
        BadRequestError: If the log has no such signal, or no impression without an answer where
            the metric compares those.
    """
    objective = parse(name)
    try:
        objective.check(signals=stage.held_out.signals, attributes=stage.users.attributes)
    except BadRequestError as error:
        raise BadRequestError(f"tuning.metric: {error}") from None
    if "shown" in objective.needs and stage.held_out_shown is None:
        raise BadRequestError(
            f'tuning.metric: "{name}" compares answered impressions with unanswered ones and this '
            'data has no row without an answer; take one of accuracy, as "ndcg@10"'
        )


class Tuner:
    """Measures settings of baselines on one validation stage."""

    def __init__(self, stage: Stage, settings: TuningSettings, *, relevance: str) -> None:
        """Draw the users, and prepare what all settings share.

        Args:
            stage: The validation stage: learnt from its training rows, measured on held-out ones.
            settings: How to choose.
            relevance: Signal that counts where the metric names none.
        """
        most = max(FEWEST_USERS, MOST_SCORES // max(stage.shape[1], 1))
        count = min(settings.users, most, stage.shape[0])
        # the draw belongs to the data, not to a run: runs of other seeds choose alike
        asked = sample_users(stage, count, seed=child_seed(0, "users that tune baselines"))
        self.stage, self.settings, self.asked = stage, settings, asked
        self.relevance, self.metric = relevance, parse(settings.metric)
        met = met_before(asked)
        facts_of_rows = stage.popularity, met, None, stage.rate, stage.mean_signal
        catalogue = Catalogue(asked.items, asked.users, *facts_of_rows)
        self.catalogue = catalogue
        signals = {relevance, self.metric.signal or relevance}
        self.held_out = {name: HeldOut(asked.relevance(name)) for name in sorted(signals)}
        ties = tie_ranks(stage.items, stage.train)
        self._users = UserScorers(met, {}, item_facts(catalogue), ties, torch.device("cpu"))

    def choose(self, baseline: Baseline) -> Choice:
        """Search for the best parameters of a baseline.

        Raises:
            BadRequestError: If the baseline refuses the data with its defaults.
        """
        began = time.perf_counter()
        parameters = baseline.active()
        defaults = {name: baseline.parameters()[name] for name in parameters}
        start: Setting = {name: value for name, value in defaults.items() if value is not None}
        fits = _Fits(self.stage)

        def worth(setting: Setting) -> float:
            changed = replace(baseline, **setting)  # type: ignore[type-var]  # a dataclass
            try:
                model = fits.of(changed)
            except BadRequestError:
                if setting == start:
                    raise
                return float("nan")  # out of reach on this data
            value = self.measure(model)
            return value if self.metric.maximise else -value

        # one thread: sums in one order on every machine, and no waiting on busy ones
        with threadpool_limits(1):
            found = search_parameters(
                parameters,
                start,
                worth,
                settings=most_settings(baseline, self.settings),
                cheap=baseline.only_scores & parameters.keys(),
                out_of_time=lambda: time.perf_counter() - began > self.settings.seconds,
            )
        sign = 1.0 if self.metric.maximise else -1.0
        return Choice(
            {name: found.best[name] for name in start},
            _finite(sign * found.value),
            dict(start),
            _finite(sign * found.start_value),
            self.metric.name,
            found.tried,
            round(time.perf_counter() - began, 3),
            found.cut_short,
        )

    def measure(self, model: ItemModel) -> float:
        """Return the metric of a fitted baseline's lists, made as the search makes them."""
        users, name = copy.copy(self._users), "tuned"
        users.experts = {name: ScoresOnDemand.of(model, self.asked)}
        k = self.metric.k
        scorers, setting = users.all(), ServingParams({name: 1.0})
        lists, scores = recommend(scorers, [setting], k=k)
        outcome = Outcome(
            lists[0],
            scores[0],
            self.held_out,
            self.relevance,
            self.catalogue,
            all_scores=partial(fused_scores, scorers, setting),
            shown=self.asked.held_out_shown,
        )
        return float(self.metric.value(outcome))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class _Fits:
    """The last fits of one baseline, so that what does not enter a fit can be changed freely."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._kept: dict[str, ItemModel] = {}

    def of(self, baseline: Baseline) -> ItemModel:
        """Return a fitted model."""
        values = baseline.parameters()
        scoring: dict[str, Any] = {name: values.pop(name) for name in baseline.only_scores}
        key = json.dumps(values, sort_keys=True)
        if key not in self._kept:
            if len(self._kept) > 1:
                del self._kept[next(iter(self._kept))]
            fitted = baseline.learn(self._stage)
            self._kept[key] = densify_if_small(fitted)
        self._kept[key] = self._kept.pop(key)  # the one that was used last goes last
        return replace(self._kept[key], **scoring)


def tuned_baselines(
    baselines: Mapping[str, Baseline],
    stage: Stage,
    settings: TuningSettings,
    *,
    relevance: str,
    cache: Path,
) -> dict[str, Choice]:
    """Choose the parameters of some baselines, or read what was chosen before.

    Args:
        baselines: Name -> baseline with its default parameters.
        stage: The validation stage; no other data is read.
        settings: How to choose.
        relevance: Signal that counts as relevant.
        cache: Root of the cache; choices lie in ``tuned/`` below it, named by data, code, baseline
            and how they were made.

    Returns:
        Name -> choice, for baselines that have anything to tune.

    Raises:
        BadRequestError: If a baseline or the metric refuses the data, or the cache cannot be
            written.
    """
    check_metric_on(settings.metric, stage)
    tuner: Tuner | None = None
    choices = {}
    for name, baseline in baselines.items():
        if not baseline.active():
            continue
        path = cache / "tuned" / f"{_stem(baseline, stage, settings, relevance)}.json"
        stored = read_json(path)
        if stored is None:
            tuner = tuner or Tuner(stage, settings, relevance=relevance)
            stored = asdict(tuner.choose(baseline))
            write_json(path, stored)
        choices[name] = Choice(**stored)
    return choices


def _stem(baseline: Baseline, stage: Stage, settings: TuningSettings, relevance: str) -> str:
    """Return the name of a file by everything that decides a choice."""
    content = {
        "baseline": expert_key(baseline),
        "ranges": {name: asdict(parameter) for name, parameter in baseline.active().items()},
        "stage": stage.content_hash,
        "relevance": relevance,
        "how": [settings.settings, settings.seconds, settings.metric, settings.users],
        "code": code_key(__name__),
    }
    text = json.dumps(content, sort_keys=True)
    return f"{baseline.method}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
