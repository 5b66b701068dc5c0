"""Update of a bundle: read, compare, train, measure, and only then write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.bundle import Bundle, BundleData, write_bundle
from pareto_rec.bundle.collect import merged
from pareto_rec.bundle.data import CONTEXT, TRAIN, VALIDATION
from pareto_rec.bundle.folders import check_vacant, work_folder
from pareto_rec.bundle.texts import Texts, with_new_items
from pareto_rec.bundle.update.drift import Drift, drift_of
from pareto_rec.bundle.update.learn import learnt
from pareto_rec.bundle.update.rows import (
    LEAST,
    NewRows,
    indexed,
    read_rows,
    with_people,
)
from pareto_rec.bundle.update.stages import Values, evaluator_of, questions_of, values_of
from pareto_rec.core.errors import BadRequestError, RunFailedError, unknown
from pareto_rec.core.seeds import generator
from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Interactions
from pareto_rec.tasks import BUILT_IN

TOLERANCE = 0.02  # of the value before, for objectives that are not given one


@dataclass(frozen=True)
class Change:
    """An objective of one point on one set of rows.

    Attributes:
        rows: ``"new rows"`` or ``"old validation"``.
        point: Id of the point.
        objective: Name.
        before: Value of the bundle as it was.
        after: Value of the updated one.
        tolerance: Largest fall that is accepted.
        fell: How far it got worse; negative where it got better.
    """

    rows: str
    point: str
    objective: str
    before: float
    after: float
    tolerance: float
    fell: float


@dataclass(frozen=True)
class Update:
    """Result of an update.

    Attributes:
        drift: How the new rows differ from the old ones.
        changes: Searched objectives of every point, before and after.
        learnt: New rows that were learnt from.
        held_out: New rows that were measured on; they are not learnt from.
        unknown_items: Rows left out because nothing describes their item.
        seconds: How long it took.
        refused: Why nothing was written; empty where it was.
    """

    drift: Drift
    changes: tuple[Change, ...]
    learnt: int
    held_out: int
    unknown_items: int
    seconds: float
    refused: str

    def to_json(self) -> dict[str, Any]:
        """As values that ``json`` writes."""
        return asdict(self)


def update(
    folder: Path,
    interactions: Path,
    to: Path,
    *,
    tolerance: Mapping[str, float] | None = None,
    hold_out: float = 0.3,
    seed: int = 0,
) -> Update:
    """Update a bundle with new interactions into another folder.

    The last share of the new rows in time is held out; heads and experts learn from the rest and
    from the old training rows. Both bundles are then measured on the held-out rows and on the old
    validation set, with the same histories. If the default point loses more than the tolerance in
    any searched objective on either, nothing is written.

    Args:
        folder: The bundle; it is not altered.
        interactions: CSV or Parquet, see ``rows.read_rows``.
        to: Where the new bundle goes; must not exist, or be empty.
        tolerance: Objective -> largest fall in natural units; 2 % of the value before for others.
        hold_out: Share of the new rows that is measured on, above 0 and below 1.
        seed: Of what is drawn.

    Raises:
        BadRequestError: If anything that was given makes no sense.
        RunFailedError: If training fails.
    """
    began = time.perf_counter()
    if not 0 < hold_out < 1:
        raise BadRequestError(f"hold-out = {hold_out:g} must lie between 0 and 1")
    check_vacant(to)
    with one_thread():
        bundle = Bundle.load(folder)
        _check(bundle.parts, tolerance or {})
        rows = read_rows(interactions, bundle.parts)
        split = _cut(rows, hold_out, interactions)
        parts = _extended(bundle, rows)
        ids = parts.users.ids, parts.items.ids
        learn, held = (indexed(rows.take(mask), *ids) for mask in (~split, split))
        known = len(bundle.parts.users), len(bundle.parts.items)
        new = indexed(rows, *ids)
        drift = drift_of(parts.train, new, parts.items, known, generator(seed, "update", "drift"))
        with work_folder() as work:
            after, values = _learn(parts, learn, held, work, seed)
        changes = _changes(parts, values, tolerance or {})
        refused = _refused(changes, parts.about.default)
        if not refused:
            write_bundle(to, _finished(after, learn, held, values["new rows"][1], bundle.version))
    took = time.perf_counter() - began
    return Update(drift, changes, len(learn), len(held), rows.unknown, took, refused)


def _check(parts: BundleData, tolerance: Mapping[str, float]) -> None:
    searched = [objective.name for objective in parts.about.objectives if objective.searched]
    for name, most in tolerance.items():
        if name not in searched:
            raise unknown("objective in tolerance", name, searched)
        if not (np.isfinite(most) and most >= 0):
            raise BadRequestError(f"the tolerance of {name} must be a number of at least 0")
    if any(set(objective.shape.tasks) - set(BUILT_IN) for objective in parts.fits.values()):
        raise BadRequestError(
            "networks of this bundle were trained on [[task]]s, and a bundle does not hold the "
            "impressions that they learn from; search again with the new data"
        )
    if parts.own_vectors:
        raise BadRequestError(
            "networks of this bundle have tuned layers of the backbone, which an update does not "
            "train; search again with the new data"
        )


def _cut(rows: NewRows, share: float, path: Path) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return the last rows in time; rows of one moment stay together."""
    held = rows.time > np.quantile(rows.time, 1 - share, method="lower")
    if min(held.sum(), (~held).sum()) < LEAST // 2:
        raise BadRequestError(
            f"{path}: {int((~held).sum())} rows to learn from and {int(held.sum())} later ones to "
            f"measure on are too few; bring more rows or another --hold-out"
        )
    return held


def _extended(bundle: Bundle, rows: NewRows) -> BundleData:
    """Return the bundle's parts with the users and items of the new rows."""
    parts = bundle.parts
    met = [item for item in dict.fromkeys(rows.items) if item not in set(parts.items.ids)]
    if met:
        parts = with_new_items(parts, [rows.new_items[item] for item in met], Texts(parts))
    return replace(parts, users=with_people(parts, list(rows.users)))


def _learn(
    parts: BundleData, learn: Interactions, held: Interactions, work: Path, seed: int
) -> tuple[BundleData, dict[str, tuple[Values, Values]]]:
    """Return the updated parts, and values before and after by set of rows."""
    questions = questions_of(parts, learn, held)
    config = work / "config.toml"
    config.write_text(parts.config, encoding="utf-8")  # as it was read: the folder may change
    teacher = evaluator_of(parts, questions.learn, config, work, questions.learn)
    after = learnt(parts, questions.learn, teacher, seed)
    values = {}
    for name, stage in (("new rows", questions.new), ("old validation", questions.old)):
        if len(stage.held_out):
            evaluator = evaluator_of(parts, stage, config, work, questions.learn)
            values[name] = values_of(parts, evaluator), values_of(after, evaluator)
    return after, values


def _changes(
    parts: BundleData, values: Mapping[str, tuple[Values, Values]], tolerance: Mapping[str, float]
) -> tuple[Change, ...]:
    changes = []
    for rows, (before, after) in values.items():
        for point in parts.about.points:
            for objective in parts.about.objectives:
                was, now = before[point.id].get(objective.name), after[point.id].get(objective.name)
                if not objective.searched or was is None or now is None:
                    continue
                most = tolerance.get(objective.name, TOLERANCE * abs(was))
                fell = (was - now) * (1 if objective.maximise else -1)
                changes.append(Change(rows, point.id, objective.name, was, now, most, fell))
    return tuple(changes)


def _refused(changes: Sequence[Change], default: str) -> str:
    """Return why the updated bundle may not replace the old one."""
    bad = [
        change for change in changes if change.point == default and change.fell > change.tolerance
    ]
    return "; ".join(
        f"{change.objective} on {change.rows} went from {change.before:.4f} to {change.after:.4f}, "
        f"more than the tolerance of {change.tolerance:.2g}"
        for change in bad
    )


def _finished(
    parts: BundleData, learn: Interactions, held: Interactions, values: Values, version: str
) -> BundleData:
    """Return what is written: rows with what became of them, and what was measured."""
    part = parts.part.astype(np.int64)
    part[part == VALIDATION] = CONTEXT  # known by now, and still not learnt from
    rows, what = merged(
        [
            (replace(parts.interactions, position=None, propensity=None), part),
            (learn, np.full(len(learn), TRAIN)),
            (held, np.full(len(held), VALIDATION)),
        ]
    )
    points = [
        point.model_copy(
            update={"objectives": dict(values[point.id]), "test": {}, "intervals": {}, "forms": {}}
        )
        for point in parts.about.points
    ]
    about = parts.about.model_copy(
        update={
            "points": points,
            "forms": ["fp32"],
            "agreement": {},
            "neighbours": [],
            "learned_from": f"{parts.about.learned_from} + {len(learn)} new rows",
            "note": f"Updated from version {version} with {len(learn)} new rows; objectives are "
            f"those on the {len(held)} rows that followed them.",
        }
    )
    extra = {name: content for name, content in parts.extra.items() if name != "confirm.csv"}
    return replace(parts, about=about, interactions=rows, part=what, extra=extra)


def refusal(update: Update) -> RunFailedError:
    """Return the error that a refused update ends with."""
    return RunFailedError(f"the bundle was not replaced: {update.refused}; nothing was written")
