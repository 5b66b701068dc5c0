"""Checks of a bundle against its run: lists, objectives and speed, form by form."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pareto_rec.bundle.bundle import CHUNK, Bundle
from pareto_rec.bundle.data import BundleData, PointAbout
from pareto_rec.bundle.onnx_backend import OnnxBackend
from pareto_rec.bundle.scoring import Engine, known_people, torch_backend
from pareto_rec.bundle.texts import Texts
from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.threads import one_thread
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.ranking import BlockwiseScorers as PartScorers
from pareto_rec.ranking import Scorers, recommend
from pareto_rec.ranking.backends import Floats, UserHistory

TIE = 1e-4  # of scores with deviation about 1: closer ones may change places by rounding
DRIFT = 0.01  # relative difference to the record that another machine's rounding may explain
WHOLE = 25_000_000  # most scores of one scorer that are held at once
_REQUESTS, _WARM = 200, 20
Lists = NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """Agreement of the lists of two sources.

    Attributes:
        lists: Lists compared.
        differ: Lists that differ.
        ties: Of them, those that differ only where scores tie within rounding.
    """

    lists: int
    differ: int
    ties: int

    @property
    def same(self) -> float:
        """Share of lists that are equal."""
        return 1 - self.differ / max(self.lists, 1)

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.lists + other.lists, self.differ + other.differ, self.ties + other.ties
        )


def run_lists(evaluator: Evaluator, parts: BundleData, point: str, k: int) -> tuple[Lists, Floats]:
    """Return lists and scores ``[users, k]`` of a point by the code that searched."""
    fits = {fit_id: parts.fits[fit_id] for fit_id in parts.networks(point)}
    scorers = evaluator.with_fits(fits)
    lists, scores = recommend(scorers, [parts.serving(point)], k=k)
    return lists[0], scores[0]


def compare(
    run: tuple[Lists, Floats],
    own: tuple[Lists, Floats],
) -> Agreement:
    """Compare lists and scores ``[users, k]`` of two sources.

    Lists differ by rounding alone where the scores of every place agree within `TIE`: then items
    of equal score have changed places.
    """
    differ = (run[0] != own[0]).any(axis=1)
    close = np.abs(np.sort(run[1], axis=1) - np.sort(own[1], axis=1)).max(axis=1) <= TIE
    return Agreement(len(differ), int(differ.sum()), int((differ & close).sum()))


def verify_lists(bundle: Bundle, evaluator: Evaluator, k: int) -> Agreement:
    """Compare the lists of all users at all points with the run's.

    Raises:
        RunFailedError: If they differ by more than rounding.
    """
    total, people = Agreement(0, 0, 0), users_of(bundle.parts, evaluator)
    for point in bundle.points:
        lists, scores = run_lists(evaluator, bundle.parts, point, k)
        agreement = compare((lists, scores), all_lists(bundle.engine, people, point, k))
        if agreement.differ > agreement.ties:
            others = agreement.differ - agreement.ties
            raise RunFailedError(
                f"the bundle's lists of point {point} are not the run's: {others} of "
                f"{agreement.lists} users get another top {k}; nothing was exported"
            )
        total += agreement
    return total


def all_lists(
    engine: Engine, people: Sequence[UserHistory], point: str, k: int
) -> tuple[Lists, Floats]:
    """Return lists and scores ``[people, k]``."""
    chunks = []
    for begin in range(0, len(people), CHUNK):
        scorers, serving = engine.of_point(people[begin : begin + CHUNK], point)
        lists, scores = recommend(scorers, [serving], k=k)
        chunks.append((lists[0], scores[0]))
    lists, scores = (np.concatenate(chunk) for chunk in zip(*chunks, strict=True))
    return lists, scores


def users_of(parts: BundleData, evaluator: Evaluator) -> list[UserHistory]:
    """Return the users of an evaluator, in its order."""
    people = dict(zip(parts.users.ids, known_people(parts), strict=True))
    return [people[id_] for id_ in evaluator.stage.users.ids]


def measure_form(
    engine: Engine, evaluator: Evaluator, k: int, points: Sequence[PointAbout]
) -> tuple[dict[str, dict[str, float]], Agreement]:
    """Return every objective of the run at every point, on the lists of a form.

    Objectives on predicted values are those of the network in float32 in every form: they are not
    served.

    Returns:
        Point id -> objective -> value on the evaluator's stage; and how lists agree with the run's.
    """
    values: dict[str, dict[str, float]] = {}
    agreed = Agreement(0, 0, 0)
    by_fits: dict[tuple[str, ...], list[PointAbout]] = {}
    for point in points:
        by_fits.setdefault(engine.parts.networks(point.id), []).append(point)
    people = users_of(engine.parts, evaluator)
    for fit_ids, members in by_fits.items():
        settings = [engine.parts.serving(point.id) for point in members]
        names = dict.fromkeys(n for point in members for n in engine.parts.experts_of(point.id))
        scorers = _scorers(engine, people, list(names), fit_ids)
        fits = {fit_id: engine.parts.fits[fit_id] for fit_id in fit_ids}
        results = evaluator.measuring.values(scorers, settings, fits)
        lists, scores = recommend(scorers, settings, k=k)
        for index, (point, measured) in enumerate(zip(members, results, strict=True)):
            values[point.id] = dict(measured.objectives)
            run = run_lists(evaluator, engine.parts, point.id, k)
            agreed += compare(run, (lists[index], scores[index]))
    return values, agreed


def _scorers(
    engine: Engine, people: Sequence[UserHistory], names: Sequence[str], fit_ids: Sequence[str]
) -> Scorers | PartScorers:
    """Return scorers of people, all at once where they are not too many."""
    fits = {fit_id: engine.parts.fits[fit_id].shape.tasks for fit_id in fit_ids}

    def take(rows: torch.Tensor | slice) -> Scorers:
        places = range(len(people))[rows] if isinstance(rows, slice) else rows.tolist()
        return engine.scorers([people[index] for index in places], names, fits)

    shape = (len(people), engine.n_items)
    return take(slice(None)) if shape[0] * shape[1] <= WHOLE else PartScorers(shape, take)


def check_records(values: Mapping[str, Mapping[str, float]], points: Sequence[PointAbout]) -> None:
    """Refuse a run whose records the present code does not give.

    Raises:
        RunFailedError: Names point, objective and both values.
    """
    for point in points:
        for name, recorded in point.objectives.items():
            value = values[point.id].get(name)
            if value is not None and abs(value - recorded) > DRIFT * max(abs(recorded), 0.01):
                raise RunFailedError(
                    f"{name} of point {point.id} is {value:.4f} with the present code and data and "
                    f"{recorded:.4f} in the run's record; search again, then export that run"
                )


def latencies(bundle: Bundle) -> dict[str, float]:
    """Return milliseconds of single requests on one thread: ``p50_ms``, ``p95_ms``, ``p99_ms``.

    With them the ``load`` of the machine before, where it tells: on a busy one they say little.
    """
    load = {"load": os.getloadavg()[0]} if hasattr(os, "getloadavg") else {}
    ids = bundle.parts.users.ids
    took = []
    with one_thread():
        for index in range(_WARM + _REQUESTS):
            began = time.perf_counter()
            bundle.recommend(ids[index % len(ids)], k=min(10, len(bundle.parts.items)))
            took.append(1000 * (time.perf_counter() - began))
    percentiles = np.percentile(took[_WARM:], [50, 95, 99])
    return load | {
        f"p{p}_ms": float(value) for p, value in zip((50, 95, 99), percentiles, strict=True)
    }


def read_anew(parts: BundleData, form: OnnxBackend) -> tuple[Engine, float]:
    """Return the bundle with every item read again by a form's text encoder, scored in float32.

    Returns:
        Its engine, and the smallest cosine of any item's centred features with those of the
        bundle.
    """
    reader = Texts(parts)
    features = form.features(parts.items.texts, reader)
    first, second = features - parts.mean, parts.features - parts.mean
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = float(((first * second).sum(axis=1) / np.maximum(norms, 1e-12)).min())
    changed = replace(parts, vectors=reader.project(features), features=features)
    return Engine(changed, torch_backend(changed)), cosine
