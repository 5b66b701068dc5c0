"""Collection of a bundle's data from a run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.baselines import BASELINES
from pareto_rec.bundle.data import (
    CONTEXT,
    TRAIN,
    VALIDATION,
    BundleData,
    BundleManifest,
    Floats,
    ObjectiveAbout,
    PointAbout,
)
from pareto_rec.bundle.points import neighbours_of
from pareto_rec.bundle.source import Run
from pareto_rec.core.errors import RunFailedError
from pareto_rec.data.schema import Interactions, Stage

if TYPE_CHECKING:
    from pareto_rec.evaluation.evaluator import Evaluator
    from pareto_rec.training.data import Fit

KEPT = ("confirm.csv", "picks.json")


def gathered(run: Run, points: list[PointAbout], default: str) -> BundleData:
    """Return the parts of a bundle of some points, as the run left them."""
    names = _experts_of(points)
    stage = run.experiment.split.validation
    known = run.experiment.baselines
    models = {name: known[name].learn(stage) for name in names}
    fits = run.fits(
        [member for point in points for member in point.members if member not in BASELINES]
    )
    rows, part = log_of(stage)
    about = _about(run, points, default, {name: models[name].tau for name in names})
    return _parts(run, stage, about, (rows, part), models, fits)


def _parts(
    run: Run,
    stage: Stage,
    about: BundleManifest,
    log: tuple[Interactions, NDArray[np.uint8]],
    models: Mapping[str, Any],
    fits: Mapping[str, Fit],
) -> BundleData:
    vectors = run.experiment.evaluator().data.features.cpu().numpy()
    reads = run.experiment.config.backbone.text
    features = np.asarray(run.experiment.features.states, dtype=np.float32)
    features = features if reads else np.zeros((len(stage.items), 1), dtype=np.float32)
    mean, loadings = reading(features, vectors)
    backbone = run.experiment.backbone
    extra = {n: (run.path / n).read_bytes() for n in KEPT if (run.path / n).is_file()}
    return BundleData(
        about=about,
        config=(run.path / "config.toml").read_text(encoding="utf-8"),
        items=stage.items,
        users=stage.users,
        interactions=log[0],
        part=log[1],
        features=features,
        vectors=vectors,
        mean=mean,
        loadings=loadings,
        experts=models,
        fits=fits,
        backbone=backbone.folder,
        own_vectors=own_vectors(run.experiment.evaluator(), vectors, fits),
        extra=extra,
    )


def own_vectors(
    evaluator: Evaluator, vectors: Floats, fits: Mapping[str, Fit]
) -> dict[str, Floats]:
    """Return what networks read of the items, for those that read texts in a way of their own."""
    by_fit = {}
    for fit_id, fit in fits.items():
        own = evaluator.data.item_features(fit.spec, fit.difference).cpu().numpy()
        if own.shape != vectors.shape or not np.array_equal(own, vectors):
            by_fit[fit_id] = np.asarray(own, dtype=np.float32)
    return by_fit


def _experts_of(points: Sequence[PointAbout]) -> list[str]:
    """Return experts with a weight in any point."""
    weighed = [name for p in points for name, weight in p.members.items() if weight > 0]
    return [name for name in dict.fromkeys(weighed) if name in BASELINES]


def _about(
    run: Run, points: list[PointAbout], default: str, experts: dict[str, float | None]
) -> BundleManifest:
    view, config = run.view, run.experiment.config
    axes = [(axis, True) for axis in view.axes] + [(axis, False) for axis in view.reported]
    leak = view.info.get("leak") or {}
    return BundleManifest(
        experiment=config.name,
        question=config.question,
        seed=config.seed,
        k=run.experiment.evaluator().measuring.measures.k,
        learned_from="train",
        relevance=config.data.relevance,
        liked=config.data.liked,
        objectives=[
            ObjectiveAbout(
                name=axis.name,
                maximise=axis.maximise,
                unit=axis.unit,
                reference=axis.reference,
                searched=searched,
            )
            for axis, searched in axes
        ],
        experts=experts,
        points=points,
        default=default,
        neighbours=neighbours_of(view, default),
        hashes={str(k): str(v) for k, v in (view.info.get("hashes") or {}).items()},
        late_train_share=leak.get("late_train_share"),
    )


def log_of(stage: Stage) -> tuple[Interactions, NDArray[np.uint8]]:
    """Return rows of a stage, sorted by user, then time, and what each of them is."""
    learnt = np.zeros(stage.shape[0], dtype=bool)
    learnt[stage.train.user] = True
    known = np.where(learnt[stage.history.user], TRAIN, CONTEXT)
    if int((known == TRAIN).sum()) != len(stage.train):
        raise RunFailedError(
            "histories of this split mix rows that were learnt from with rows that were not; "
            "its runs cannot be exported"
        )
    held = np.full(len(stage.held_out), VALIDATION)
    return merged([(stage.history, known), (stage.held_out, held)])


def merged(
    logs: Sequence[tuple[Interactions, NDArray[np.int64]]],
) -> tuple[Interactions, NDArray[np.uint8]]:
    """Return logs in one, by user, then time; rows of one moment stay in the order given."""
    rows = [log for log, _ in logs]
    part = np.concatenate([what for _, what in logs]).astype(np.uint8)
    user, item, time = (
        np.concatenate([getattr(log, name) for log in rows]) for name in ("user", "item", "time")
    )
    names = rows[0].signals
    signals = {name: np.concatenate([log.signals[name] for log in rows]) for name in names}
    shown = []
    for name in ("position", "propensity"):
        columns = [getattr(log, name) for log in rows]
        shown.append(None if columns[0] is None else np.concatenate(columns))
    order = np.lexsort([time, user])
    return Interactions(user, item, time, signals, *shown).take(order), part[order]


def reading(features: Floats, vectors: Floats) -> tuple[Floats, Floats]:
    """Return the affine map from features to what networks read, for items that come later.

    Returns:
        Mean ``[F]`` and loadings ``[F, D]`` with ``vectors = (features - mean) @ loadings``: the
        least-squares solution of least norm.

    Raises:
        RunFailedError: If there is no such map.
    """
    mean = features.astype(np.float64).mean(axis=0)
    centred = features.astype(np.float64) - mean
    gram = centred.T @ centred
    loadings = np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ (centred.T @ vectors)
    error = float(np.abs(centred @ loadings - vectors).max(initial=0))
    if error > 1e-2:
        raise RunFailedError(
            f"what networks read is not a linear map of the backbone's states (off by "
            f"{error:.2g}); new items could not be read"
        )
    return mean.astype(np.float32), loadings.astype(np.float32)
