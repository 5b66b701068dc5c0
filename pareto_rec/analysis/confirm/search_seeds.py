"""Several searches of one config with other seeds: the variance of the search itself.

A confirmation says how good the points of one search are; another seed would have found others. Of
several searches the mean ratio to the same kind of opponent, which each run searched with its own
seed, has an interval over users, training seeds and search seeds: users are shared by the runs,
since all of them are resampled alike, and searches enter by Student's t, as seeds do
(`pareto_rec.analysis.bootstrap`). What users and training seeds add to the differences between runs
is taken out of these first, since the draws hold it already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pareto_rec.analysis import bootstrap
from pareto_rec.analysis.bootstrap import Floats, Interval, Resample
from pareto_rec.analysis.confirm.reported_front import SEARCH
from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.config import load_config
from pareto_rec.runs.confirmation import DRAWS, JSON, read_content
from pareto_rec.runs.files import check_file

UNION = "union"  # of all opponents together, no opponent of its own
_BY_SEED = {"seed", "baseline_parameters"}  # of a config: may differ between the runs


@dataclass(frozen=True)
class ConfirmedRun:
    """Hypervolumes of a confirmed run on test data.

    Attributes:
        path: The run directory.
        seed: Of its search.
        values: Kind of front -> its hypervolume.
        draws: Kind of front -> the same under each draw of users and training seeds ``[draws]``.
        names: Kind of front -> its name in this run.
        is_void: Whether an earlier opening of its test data voids what it says.
    """

    path: Path
    seed: int
    values: Mapping[str, float]
    draws: Mapping[str, Floats]
    names: Mapping[str, str]
    is_void: bool = False


def check_alike(paths: Sequence[Path]) -> None:
    """Refuse runs that do not differ by the seed of the search alone.

    Raises:
        BadRequestError: If a run is named twice, or configs differ; the message says which.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise BadRequestError("--with needs other runs than the first: a run is named twice")
    first, *others = [load_config(path) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if _without_seed(other) != _without_seed(first):
            raise BadRequestError(
                f"{path} has another config than {paths[0]}: only runs that differ by their seed "
                "say how much searches vary; use `pareto-rec compare` for others"
            )
        if other.seed == first.seed:
            raise BadRequestError(
                f"{path} has the seed of {paths[0]}, {first.seed}: search with --set seed=N"
            )


def _without_seed(config: Any) -> str:  # Any: the config of an experiment
    content = config.model_dump(mode="json")
    return json.dumps({k: v for k, v in content.items() if k not in _BY_SEED}, sort_keys=True)


def is_confirmed(run: Path) -> bool:
    """Return whether a run is confirmed and its draws are there."""
    content = read_content(run / JSON)
    return bool(content and content.get("status") == "finished" and (run / DRAWS).is_file())


def read_confirmed_run(run: Path) -> ConfirmedRun:
    """Read the hypervolumes of a confirmed run.

    Raises:
        BadRequestError: If a file is damaged.
    """
    content = read_content(run / JSON) or {}
    check_file(run, DRAWS, content)
    try:
        with np.load(run / DRAWS, allow_pickle=False) as file:
            draws = {kind: np.asarray(file[kind], dtype=np.float64) for kind in file.files}
        fronts = {str(one["kind"]): one for one in content["fronts"]}
        values = {kind: float(fronts[kind]["hypervolume"]["test"]["value"]) for kind in draws}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BadRequestError(
            f"{run / DRAWS} is damaged ({error!r}); run `pareto-rec confirm {run}` again"
        ) from None
    names = {kind: str(fronts[kind]["name"]) for kind in draws}
    is_void = bool(content.get("void"))
    return ConfirmedRun(run, load_config(run).seed, values, draws, names, is_void)


def pooled(values: Floats, draws: Floats, seed: int = 0) -> tuple[Interval, Floats]:
    """Return the mean over searches with its interval, and its draws.

    Args:
        values: One per search ``[searches]``.
        draws: Under the same draws of users ``[searches, draws]``.
        seed: Of the randomness.
    """
    count, number = draws.shape
    middle = draws.mean(axis=0)
    chance = (draws - middle).var(axis=1).sum() / max(count - 1, 1)
    spread = float(values.var(ddof=1)) if count > 1 else 0.0
    share = np.sqrt(np.clip(1.0 - chance / spread, 0.0, 1.0)) if spread > 0 else 0.0
    effects = bootstrap.seed_shift(values[None], Resample(0, count, number, seed))[:, 0]
    drawn = middle + share * effects
    # biases that values and draws share are those of each run; its own interval has taken them out
    return bootstrap.interval(float(values.mean()), drawn), drawn


def over_searches(runs: Sequence[ConfirmedRun]) -> dict[str, Any]:
    """Return ratios to the opponents over several searches, as confirm.json keeps them.

    Ratios are averaged by their logarithms. Opponents are matched by their kind; those that some
    run lacks, or that are worth nothing, are left out.

    Args:
        runs: At least two, of one config.
    """
    kinds = [
        kind
        for kind in runs[0].values
        if kind not in (SEARCH, UNION) and all(run.values.get(kind, 0.0) > 0 for run in runs)
    ]
    rows = [_row(kind, runs) for kind in kinds if all(run.values[SEARCH] > 0 for run in runs)]
    known = [row for row in rows if row["p"] is not None]
    adjusted = bootstrap.holm([row["p"] for row in known])
    for row, p in zip(known, adjusted, strict=True):
        row["p_holm"] = p
    return {
        "runs": [str(run.path) for run in runs],
        "seeds": [run.seed for run in runs],
        "void": [str(run.path) for run in runs if run.is_void],
        "hypervolume": [run.values[SEARCH] for run in runs],
        "opponents": rows,
    }


def _row(kind: str, runs: Sequence[ConfirmedRun]) -> dict[str, Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.stack([np.log(run.draws[SEARCH] / run.draws[kind]) for run in runs])
    known = np.isfinite(drawn).all(axis=0)
    values = np.array([np.log(run.values[SEARCH] / run.values[kind]) for run in runs])
    interval, draws = pooled(values, drawn[:, known])
    ends = (interval.value, interval.low, interval.high)
    value, low, high = (None if np.isnan(end) else float(np.exp(end)) for end in ends)
    return {
        "kind": kind,
        "name": runs[0].names[kind],
        "ratios": [float(ratio) for ratio in np.exp(values)],
        "ratio": {"value": value, "low": low, "high": high},
        "p": bootstrap.p_value(interval.value, draws, 0.0),
        "p_holm": None,
    }


def in_words(searches: Mapping[str, Any]) -> list[str]:
    """Return what several searches say, in a sentence or two."""
    count = len(searches["runs"])
    if not searches["opponents"]:
        return [f"Over {count} searches no opponent is worth anything to compare them with."]
    parts = []
    for row in searches["opponents"]:
        ratio, each = row["ratio"], ", ".join(f"{one:.2f}" for one in row["ratios"])
        text = f"{ratio['value']:.2f}"
        if ratio["low"] is not None:
            text += f" (95 % interval {ratio['low']:.2f} to {ratio['high']:.2f}"
            text += ", which holds 1)" if ratio["low"] <= 1.0 <= ratio["high"] else ")"
        p = "" if row["p_holm"] is None else f", p = {row['p_holm']:.2g} by Holm"
        parts.append(f"{text} times {row['name']} (single searches {each}{p})")
    void = f"Void ({', '.join(searches['void'])}): over" if searches["void"] else "Over"
    return [
        f"{void} {count} searches with other seeds, the search's own variance in the interval, the "
        f"hypervolume on test data is {'; '.join(parts)}."
    ]
