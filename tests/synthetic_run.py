"""A run directory as a search would leave it, made up but shaped like the real thing.

Accuracy falls as diversity rises, weak fits lie behind good ones, and six experts lie behind most
of the front. Nothing here is measured; hypervolumes come from moocore, not from the package.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.checksums import sha256_of, signed

NAMES = ("ndcg@10", "ild@10", "tail_ndcg@10")
REFERENCE = (0.10, 0.65, 0.0)
EXPERTS = {  # accuracy, reach on the tail
    "popularity": (0.067, 0.0),
    "item-knn": (0.131, 0.010),
    "ease": (0.135, 0.020),
    "popularity-recent": (0.085, 0.002),
    "item-knn-recent": (0.180, 0.045),
    "ease-recent": (0.193, 0.060),
}
LOSSES = ("softmax", "entropy", "similarity", "popularity")


def objectives(
    accuracy: float, tail: float, mmr: float, penalty: float, rng: np.random.Generator
) -> dict[str, float]:
    """Values of one serving setting of scores with the given accuracy and tail reach."""
    ndcg = accuracy * (1 - 0.75 * mmr**2.2) * (1 - 0.45 * penalty**2) + rng.normal(0, 0.0012)
    ild = 0.70 + 0.23 * mmr**0.9 + 0.015 * penalty + rng.normal(0, 0.0025)
    tail_ndcg = tail * (0.45 + 2.2 * penalty * np.exp(-1.1 * penalty)) * (1 - 0.6 * mmr**2)
    return {
        "ndcg@10": max(0.0, float(ndcg)),
        "ild@10": min(1.0, float(ild)),
        "tail_ndcg@10": max(0.0, float(tail_ndcg + rng.normal(0, 0.0008))),
        "coverage@10": float(np.clip(0.12 + 0.3 * penalty + 0.2 * mmr, 0, 1)),
        "training_seconds": float(1.5 + rng.gamma(2.0, 0.6)),
    }


def hypervolume(values: NDArray[np.float64]) -> float:
    """Hypervolume by moocore, everything maximised."""
    kept = values[(values > np.array(REFERENCE)).all(axis=1)]
    if not len(kept):
        return 0.0
    return float(moocore.hypervolume(kept, ref=np.array(REFERENCE), maximise=True))


def _record(
    rng: np.random.Generator, fit: int, place: int, quality: float, seconds: float
) -> dict[str, Any]:
    mmr, penalty = (float(v) for v in rng.beta(1.0, 1.6, size=2))
    weights = rng.dirichlet(np.ones(len(LOSSES)))
    measured = objectives(quality, 0.088 * quality / 0.2, mmr, penalty, rng)
    train: dict[str, Any] = {
        "loss_weights": [round(float(w), 6) for w in weights],
        "learning_rate": round(float(10 ** rng.uniform(-3.5, -1.5)), 7),
        "model": "attention" if fit % 3 else "sequence",
        "combine": "sum" if fit % 2 else "chebyshev",
        "width": int(2 ** rng.integers(4, 8)),
    }
    if fit % 3 == 0:
        train["layers"] = 2
    return {
        "id": f"{rng.integers(16**12):012x}",
        "fit": f"fit{fit:09x}",
        "members": {f"fit{fit:09x}": 1.0},
        "seed": 7,
        "generation": fit // 12,
        "position": (fit % 12) * 24 + place,
        "origin": "own" if place == 0 else "sweep",
        "train": train,
        "serve": {"mmr": mmr, "penalty": penalty, "depth": 100, "fuse.ease-recent": quality},
        "status": "ok",
        "objectives": measured,
        "reason": None,
        "timing": {"elapsed_s": seconds, "train_s": measured["training_seconds"]},
    }


def make_records(seed: int = 0, fits: int = 60, sweep: int = 24) -> list[dict[str, Any]]:
    """Records of a search that gets better; one fit in twenty fails."""
    rng = np.random.default_rng(seed)
    records: list[dict[str, Any]] = []
    seconds = 14.0
    for fit in range(fits):
        seconds += float(rng.uniform(2.5, 4.5))
        progress = 1 - np.exp(-fit / 18)
        quality = float(np.clip(0.165 + 0.045 * progress + rng.normal(0, 0.012), 0.06, 0.215))
        rows = [_record(rng, fit, place, quality, seconds) for place in range(sweep)]
        if fit % 20 == 19:
            rows = [
                row | {"status": "failed", "objectives": {}, "reason": "loss is not finite"}
                for row in rows[:1]
            ]
        records += rows
    return records


def make_baselines(seed: int = 1, rows: int = 279) -> list[dict[str, Any]]:
    """Every expert under a sweep of serving settings."""
    rng = np.random.default_rng(seed)
    table: list[dict[str, Any]] = []
    for expert, (accuracy, tail) in EXPERTS.items():
        own = []
        for place in range(rows):
            mmr, penalty = (place % 31) / 30, (place // 31) / 8
            row = {"expert": expert, "id": f"{rng.integers(16**12):012x}"}
            row |= objectives(accuracy, tail, mmr, penalty, rng)
            own.append(row | {"serve.mmr": mmr, "serve.penalty": penalty, "serve.depth": 100})
        best = moocore.is_nondominated(_values(own), maximise=True)
        table += [row | {"on_front": int(flag)} for row, flag in zip(own, best, strict=True)]
    return table


def _values(rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    return np.array([[row[name] for name in NAMES] for row in rows])


def make_front(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Non-dominated feasible records; the first twenty by a spread of accuracy are selected."""
    good = [r for r in records if r["status"] == "ok" and r["objectives"]["ndcg@10"] >= 0.10]
    values = _values([r["objectives"] for r in good])
    best = [
        r
        for r, keep in zip(good, moocore.is_nondominated(values, maximise=True), strict=True)
        if keep
    ]
    best.sort(key=lambda r: -r["objectives"]["ndcg@10"])
    shown = set(np.linspace(0, len(best) - 1, min(20, len(best))).astype(int).tolist())
    rows = []
    for place, record in enumerate(best):
        row: dict[str, Any] = {key: record[key] for key in ("id", "fit", "seed")}
        row |= {"selected": int(place in shown)} | record["objectives"]
        row |= {
            f"train.loss_weights.{name}": weight
            for name, weight in zip(LOSSES, record["train"]["loss_weights"], strict=True)
        }
        row |= {f"train.{k}": v for k, v in record["train"].items() if k != "loss_weights"}
        rows.append(row | {f"serve.{k}": v for k, v in record["serve"].items()})
    return rows


def _info(
    records: list[dict[str, Any]], front: list[dict[str, Any]], baselines: list[dict[str, Any]]
) -> dict[str, Any]:
    alone = {e: hypervolume(_values([r for r in baselines if r["expert"] == e])) for e in EXPERTS}
    bounds = {"at_least": 0.10, "at_most": None}
    return {
        "experiment": "movielens_accuracy_diversity_fairness",
        "question": "Which trade-offs between accuracy, diversity and fairness to the items that "
        "popularity hides can a recommender reach on MovieLens 100K?",
        "status": "finished",
        "objectives": [
            {"name": name, "maximise": True, "unit": "1", "reference": value}
            | (bounds if name == "ndcg@10" else {"at_least": None, "at_most": None})
            for name, value in zip(NAMES, REFERENCE, strict=True)
        ],
        "reported": [
            {"name": "coverage@10", "maximise": True, "unit": "1"},
            {"name": "training_seconds", "maximise": False, "unit": "s"},
        ],
        "seed": 7,
        "hypervolume": {
            "front": hypervolume(_values(front)) if front else 0.0,
            "baselines": alone,
            "all_baselines": hypervolume(_values(baselines)),
        },
        "counts": {
            "generations": 1 + max(r["generation"] for r in records),
            "fits": len({r["fit"] for r in records}),
            "records": len(records),
            "failed": sum(r["status"] == "failed" for r in records),
        },
        "seconds": {"encode": 11.2, "experts": 8.4, "search": 221.0, "total": 240.6},
        "versions": {"pareto_rec": "0.1.0", "torch": "2.13.0", "pymoo": "0.6.1.5"},
        "hardware": {"cpu": "2 cores", "memory_gb": 8},
        "hashes": {"data": "9f2c1e", "backbone": "77aa10"},
        "leak": {"late_train_share": 0.36},
        "git_commit": "0123abc",
    }


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as CSV; a key that only some rows have is an empty cell in the others."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_lists(folder: Path, users: int = 3, items: int = 40, seed: int = 5) -> Path:
    """lists.json beside a run: made-up films for every point of its front."""
    rng = np.random.default_rng(seed)
    ids = [str(100 + item) for item in range(items)]
    with (folder / "front.csv").open(newline="", encoding="utf-8") as file:
        points = [row["id"] for row in csv.DictReader(file)]

    def drawn(count: int) -> list[str]:
        return [ids[place] for place in rng.permutation(items)[:count]]

    content = {
        "stage": "validation",
        "relevance": "watched",
        "users": [
            {"id": f"u{place}", "history": 10 * (place + 1), "last": drawn(5), "held_out": drawn(6)}
            for place in range(users)
        ],
        "lists": {point: [drawn(10) for _ in range(users)] for point in points},
        "items": {
            name: {"title": f"Film {name} <1997>", "categories": ["Drama"], "popularity": place}
            for place, name in enumerate(ids)
        },
    }
    path = folder / "lists.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _spread(mean: float, width: float) -> dict[str, float]:
    return {"mean": mean, "sd": width / 2, "low": mean - width, "high": mean + width}


def _interval(value: float, width: float) -> dict[str, float]:
    return {"value": value, "low": value - width, "high": value + width}


def _confirmed_point(front: str, row: Mapping[str, str], lost: float) -> dict[str, Any]:
    """A selected point that keeps a part of its values when it is trained anew."""
    values = {}
    for name in NAMES:
        seen = float(row[name])
        after, later = (_spread(seen * share, 0.01 * seen) for share in (0.99 * lost, 0.9 * lost))
        values[name] = {"search": seen, "validation": after, "test": later}
    chances = {"p_non_dominated": 0.75, "p_non_dominated_all": 0.5}
    flags = {"dominated_by_own": False, "dominated_by_any": False, "feasible": True}
    return (
        {"front": front, "id": row["id"], "seeds": 3, "serve": {}, "values": values}
        | chances
        | flags
    )


OPPONENTS = (
    "baselines alone",
    "baselines and one plain fit",
    "best 4 of 60 accuracy-only fits",
)


def write_confirm(folder: Path, *, openings: int = 1, baseline_share: float = 1.0) -> Path:
    """confirm.json beside a run, for its selected points and those of its opponents.

    Args:
        folder: The run directory.
        openings: How often test data was opened.
        baseline_share: What the opponents' points keep of their values, as the front's keep 1.
    """
    with (folder / "front.csv").open(newline="", encoding="utf-8") as file:
        chosen = [row for row in csv.DictReader(file) if row["selected"] == "1"]
    with (folder / "baselines.csv").open(newline="", encoding="utf-8") as file:
        rivals = [row for row in csv.DictReader(file) if row["expert"] == "ease-recent"][:3]
    own = {"validation": _interval(0.0026, 0.0002), "test": _interval(0.0021, 0.0003)}
    other = {"validation": _interval(0.0017, 0.0002), "test": _interval(0.0014, 0.0003)}
    unlike = {"search": 1.7, "validation": _interval(1.5, 0.2), "test": _interval(1.4, 0.3)}
    shared = {"records": 1416, "ids": []}
    points = [_confirmed_point("search", row, 1.0) for row in chosen]
    points += [
        _confirmed_point(name, row, baseline_share)
        for name, row in zip(OPPONENTS, rivals, strict=True)
    ]
    content = {
        "format": 1,
        "status": "finished",
        "opened": [
            {"at": f"2026-01-{31 - openings + place + 1}T12:00:00+00:00", "finished": True}
            for place in range(openings)
        ],
        "seeds": [11, 12, 13],
        "level": 0.95,
        "best_baseline": OPPONENTS[0],
        "fronts": [
            {"name": "search", "says": "the front", "points": len(chosen), "kept": None}
            | {"hypervolume": {"search": 0.0029} | own, "ratio": {}}
            | shared,
            *(
                {"name": name, "says": "an opponent", "points": 1, "kept": _interval(0.57, 0.4)}
                | {"hypervolume": {"search": 0.0017} | other, "ratio": unlike}
                | shared
                for name in OPPONENTS
            ),
        ],
        "answer": {
            "says": [
                "On test data the front keeps 1.40 [1.10, 1.70] times baselines alone.",
                "None of its points is dominated by <another>.",
            ]
        },
        "points": points,
    }
    path = folder / "confirm.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_run(
    folder: Path,
    *,
    seed: int = 0,
    fits: int = 60,
    sweep: int = 24,
    rows: int = 279,
    change: Mapping[str, Any] | None = None,
) -> Path:
    """Write a synthetic run and return its directory.

    Args:
        folder: Where to write; made if it is not there.
        seed: Seed of the records.
        fits: Number of fits.
        sweep: Records per fit.
        rows: Baseline settings per expert.
        change: Keys of run.json to replace.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = make_records(seed, fits, sweep)
    front = make_front(records)
    baselines = make_baselines(seed + 1, rows)
    info = _info(records, front, baselines) | dict(change or {})
    (folder / "run.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
    (folder / "records.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in records), encoding="utf-8"
    )
    write_csv(folder / "front.csv", front)
    write_csv(folder / "baselines.csv", baselines)
    return folder


def sign_run(folder: Path) -> Path:
    """Give a synthetic run the checksums that a search writes; its directory."""
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    signed_lines = [json.dumps(signed(json.loads(line))) + "\n" for line in lines]
    (folder / "records.jsonl").write_text("".join(signed_lines), encoding="utf-8")
    if not (folder / "config.toml").is_file():
        (folder / "config.toml").write_text('name = "synthetic"\n')
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    names = ("config.toml", "front.csv", "baselines.csv", "lists.json")
    files = {name: sha256_of(folder / name) for name in names if (folder / name).is_file()}
    info |= {"format": 2, "files": files}
    (folder / "run.json").write_text(json.dumps(signed(info)), encoding="utf-8")
    return folder
