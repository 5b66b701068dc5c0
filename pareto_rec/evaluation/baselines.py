"""Baselines swept over serving variables, for comparison with the front."""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path
from typing import Any

from pareto_rec.baselines import expert_key
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.sealed import read_json, write_json
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.ranking import ServingParams

PENALTIES = (0.0, 0.3, 0.6, 0.9, 1.1, 1.2, 1.3, 1.4, 1.5)
TRADE_OFFS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
DEPTHS = (20, 40, 80, 160, 320)

MEASURING = tuple(
    f"pareto_rec.{module}"
    for module in ("data.sample", "data.split", "evaluation.evaluator", "objectives")
)
"""Modules that decide what a serving setting is worth, with all that they import."""


def grid(expert: str) -> list[ServingParams]:
    """Return the 279 serving settings of a baseline: popularity penalty x MMR x depth."""
    pairs = [(0.0, DEPTHS[0]), *product(TRADE_OFFS, DEPTHS)]
    return [
        ServingParams({expert: 1.0}, popularity_penalty=penalty, mmr=mmr, depth=depth)
        for penalty, (mmr, depth) in product(PENALTIES, pairs)
    ]


def sweep_expert(evaluator: Evaluator, expert: str, cache_root: Path) -> list[dict[str, Any]]:
    """Return one row per setting of an expert's sweep, computed once.

    Returns:
        Rows with ``expert``, ``id``, every objective, and ``serve.<variable>``.
    """
    settings = grid(expert)
    own = evaluator.measuring
    names = [objective.name for objective in own.measures.all]
    content = [
        expert_key(evaluator.baselines[expert]),
        evaluator.store.data_key,
        names,
        own.relevance,
        code_key(__name__, *MEASURING),
    ]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]
    path = cache_root / "baselines" / f"{expert}-{digest}.json"
    rows: list[dict[str, Any]] | None = read_json(path)
    if rows is None:
        rows = []
        for index, (setting, measured) in enumerate(
            zip(settings, own.values(evaluator.scorers, settings), strict=True)
        ):
            if measured.reason is None:
                rows.append(
                    {
                        "expert": expert,
                        "id": f"{expert}-{index:03d}",
                        **measured.objectives,
                        "serve.popularity_penalty": setting.popularity_penalty,
                        "serve.mmr": setting.mmr,
                        "serve.depth": setting.depth,
                    }
                )
        write_json(path, rows)
    return rows
