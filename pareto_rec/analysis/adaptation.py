"""What an adapted backbone is worth: the same fits on it and on the one it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pareto_rec.analysis.bootstrap import Resample, draw_means
from pareto_rec.core.seeds import child_seed
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.experiment.config import Config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.objectives.ranking import NDCG
from pareto_rec.ranking import NETWORK, ServingParams, recommend
from pareto_rec.search.variables import named_values
from pareto_rec.training.fitting import train_pack
from pareto_rec.training.spec import TrainSpec, train_spec

EXPERT, SHARE = "ease_recency", 0.7  # what networks are fused with, and their own share


@dataclass(frozen=True)
class Gain:
    """NDCG@10 on validation data of one kind of fit on both backbones, means over seeds.

    Attributes:
        kind: What items are made of, and whether an expert is fused.
        plain: On the backbone as it came.
        adapted: On the adapted one.
        gain: The difference.
        low: Lower end of the paired 95 % interval over users and seeds.
        high: Its upper end.
    """

    kind: str
    plain: float
    adapted: float
    gain: float
    low: float
    high: float


def compared(
    config: Config,
    cache: Path,
    *,
    seeds: int,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Gain]:
    """Fit on both backbones with text alone and with item embeddings, and fuse the latter.

    Args:
        config: An experiment; fits take its fixed training variables, and searched ones in the
            middle of their range.
        cache: Root of the cache, which holds the adapted backbone.
        seeds: Fits of each kind on each backbone.
        on_progress: Called with fits done and fits in all.

    Returns:
        Text alone, text and embeddings, and the latter fused with an expert.

    Raises:
        BadRequestError: If no backbone was adapted yet.
    """
    values = [_values(config, cache, seeds, adapted, on_progress) for adapted in (False, True)]
    rows = []
    for kind in values[0]:
        plain, adapted = (np.stack(side[kind]) for side in values)
        rows.append(_gain(kind, plain, adapted, child_seed(config.seed, "backbones")))
    return rows


def _values(
    config: Config, cache: Path, seeds: int, adapted: bool, on_progress: Callable[[int, int], None]
) -> dict[str, list[NDArray[np.float64]]]:
    """Kind -> per seed NDCG@10 of every user ``[users]``."""
    chosen = config.backbone.model_copy(update={"adapted": adapted, "text": True})
    other = config.model_copy(update={"backbone": chosen, "baselines": [EXPERT]})
    experiment = Experiment.of(other, cache)
    evaluator = experiment.evaluator()
    found: dict[str, list[NDArray[np.float64]]] = {}
    for seed in range(seeds):
        for inputs, kind in (("text", "text alone"), ("both", "text and embeddings")):
            spec = train_spec(_middle(experiment), {"item_inputs": inputs})
            alone = ServingParams({NETWORK: 1.0})
            settings = {kind: alone}
            if inputs == "both":
                settings[f"fused with {EXPERT}"] = ServingParams(
                    {NETWORK: SHARE, EXPERT: 1 - SHARE}
                )
            for name, value in zip(
                settings, _fitted(evaluator, spec, seed, list(settings.values())), strict=True
            ):
                found.setdefault(name, []).append(value)
            on_progress(2 * seeds * adapted + 2 * seed + 1 + (inputs == "both"), 4 * seeds)
    return found


def _middle(experiment: Experiment) -> dict[str, object]:
    """Fixed training variables, and searched ones in the middle; no layer is tuned."""
    space = experiment.space
    values = {**experiment.config.fixed, **named_values(space.train, space.middle({}).train)}
    return values | {"tuned_layers": 0}


def _fitted(
    evaluator: Evaluator, spec: TrainSpec, seed: int, settings: Sequence[ServingParams]
) -> list[NDArray[np.float64]]:
    """NDCG@10 of every user ``[users]`` of one new fit, by serving setting."""
    seeds = [child_seed(evaluator.seed, "compared", seed)]
    one = train_pack([spec], seeds, evaluator.data, evaluator.monitor(), pack_size=1)[0]
    lists, scores = recommend(evaluator.with_fit(one), settings, k=10)
    return [
        NDCG(10).per_user(evaluator.measuring.outcome(chosen, values))
        for chosen, values in zip(lists, scores, strict=True)
    ]


def _gain(kind: str, plain: NDArray[np.float64], adapted: NDArray[np.float64], seed: int) -> Gain:
    """Paired comparison of values ``[seeds, users]``, NaN for users that are left out."""
    draw = Resample(users=plain.shape[1], seeds=len(plain), seed=seed)
    low, high = np.percentile(draw_means((adapted - plain)[None], draw)[:, 0], [2.5, 97.5])
    before, after = float(np.nanmean(plain)), float(np.nanmean(adapted))
    values = (before, after, after - before, low, high)
    return Gain(kind, *(float(value) for value in values))


def lines(gains: Sequence[Gain]) -> list[str]:
    """A table for people."""
    rows = [f"{'NDCG@10 on validation data':28} {'plain':>7} {'adapted':>8}  gain [95 %, paired]"]
    for one in gains:
        interval = f"[{one.low:+.4f}, {one.high:+.4f}]"
        rows.append(
            f"{one.kind:28} {one.plain:7.4f} {one.adapted:8.4f}  {one.gain:+.4f} {interval}"
        )
    return rows


def content(gains: Sequence[Gain]) -> list[dict[str, object]]:
    """The same for programs."""
    return [asdict(one) for one in gains]
