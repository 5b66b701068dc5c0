"""Fine-tuning of heads from their current weights, and refitting of the baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from pareto_rec.bundle import BundleData
from pareto_rec.bundle.data import PointAbout
from pareto_rec.core.errors import RunFailedError
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.runs.record import fit_ids, joined
from pareto_rec.training.data import Fit
from pareto_rec.training.fitting import train_pack

SHARE = 0.4  # of the steps that the head was trained for at first
RATE = 0.4  # of the learning rate that it was trained with


def learnt(parts: BundleData, stage: Stage, evaluator: Evaluator, seed: int) -> BundleData:
    """Return heads that went on learning and experts fitted again.

    A head goes on from where it is, on all rows, for `SHARE` of its steps at `RATE` of its learning
    rate: enough to take up the new, not enough to forget the old. Experts have closed forms.

    Args:
        parts: The bundle with new users and items.
        stage: Whose training rows are learnt from.
        evaluator: Of that stage.
        seed: Of the draws.

    Raises:
        RunFailedError: If a fit fails.
    """
    known = evaluator.baselines
    experts = {name: known[name].learn(stage) for name in parts.experts}
    fits, names = {}, {}
    for fit_id, fit in parts.fits.items():
        tuned = _on(fit, parts, fit_id, evaluator, seed)
        text = f"{fit_id} {stage.content_hash} {seed}"
        names[fit_id] = hashlib.sha256(text.encode()).hexdigest()[:16]
        fits[names[fit_id]] = tuned
    points = [_renamed(point, names) for point in parts.about.points]
    about = parts.about.model_copy(update={"points": points})
    return replace(parts, about=about, experts=experts, fits=fits)


def _renamed(point: PointAbout, names: Mapping[str, str]) -> PointAbout:
    """Return a point with other ids of its fits, wherever it names them.

    Args:
        point: The point.
        names: Old id -> new id.
    """

    def fusion_of(variables: Mapping[str, Any]) -> dict[str, Any]:
        fusion = variables.get("fusion")
        if not isinstance(fusion, Mapping):  # weights in the order of the search space
            return dict(variables)
        return {**variables, "fusion": {names.get(n, n): of for n, of in fusion.items()}}

    changed = {
        "fit": joined(names.get(fit_id, fit_id) for fit_id in fit_ids(point.fit)),
        "members": {names.get(member, member): of for member, of in point.members.items()},
        "serve": fusion_of(point.serve),
        "serving": fusion_of(point.serving),
    }
    return point.model_copy(update=changed)


def _on(fit: Fit, parts: BundleData, fit_id: str, evaluator: Evaluator, seed: int) -> Fit:
    looks = max(1, round(SHARE * fit.best_step / fit.spec.check_every))
    spec = replace(
        fit.spec,
        steps=looks * fit.spec.check_every,
        patience=looks + 1,
        learning_rate=RATE * fit.spec.learning_rate,
    )
    data = replace(evaluator.data, features=torch.from_numpy(parts.vectors_of(fit_id).copy()))
    tuned = train_pack([spec], [seed], data, _to_the_end(), pack_size=1, starts=[fit.params])[0]
    if tuned.reason is not None:
        raise RunFailedError(f"learning from the new rows failed: {tuned.reason}")
    return replace(tuned, spec=fit.spec, best_step=fit.best_step, difference=fit.difference)


def _to_the_end() -> Callable[[object], float]:
    """Return a monitor to which every look is better than the one before: the last step is kept."""
    looks = 0

    def value(_: object) -> float:
        nonlocal looks
        looks += 1
        return float(looks)

    return value
