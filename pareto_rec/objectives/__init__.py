"""Objectives: their registry, and how their names are parsed.

A name is ``family@k`` (``ndcg@10``), ``family@k[signal]`` (``ndcg@10[liked]``), ``family`` or
``family[signal]`` for what looks at no list (``train_seconds``, ``mse[liked]``), or
``group(objective by attribute)`` (``worst(ndcg@10 by gender)``).
"""

from __future__ import annotations

import re

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.registry import Registry
from pareto_rec.objectives.auc import AUC
from pareto_rec.objectives.base import Objective, SetObjective, UserObjective
from pareto_rec.objectives.calibration import Calibration, Personalization
from pareto_rec.objectives.catalogue import Catalogue
from pareto_rec.objectives.cold import ColdNDCG
from pareto_rec.objectives.cost import (
    Flops,
    LatencyMedian,
    LatencyTail,
    Parameters,
    TrainSeconds,
)
from pareto_rec.objectives.distribution import (
    CategoryEntropy,
    CategoryExposure,
    Coverage,
    ExposureGini,
    TailExposure,
)
from pareto_rec.objectives.diversity import IntraListDistance, TextDistance
from pareto_rec.objectives.expected import ExpectedRevenue
from pareto_rec.objectives.fairness import (
    Gap,
    GroupMean,
    GroupObjective,
    GroupValues,
    Ratio,
    WorstGroup,
)
from pareto_rec.objectives.impressions import CalibrationError, GroupedAUC, LogLoss, PooledAUC
from pareto_rec.objectives.novelty import EPC, Novelty, ProfileDistance
from pareto_rec.objectives.outcome import HeldOut, Outcome, Predicted
from pareto_rec.objectives.prediction import MSE, RMSE
from pareto_rec.objectives.ranking import F1, MRR, NDCG, Hit, Precision, Recall, TailNDCG
from pareto_rec.objectives.value import PriceNDCG, Revenue, Risk, SignalNDCG, Value, ValueNDCG

__all__ = [
    "FAMILIES",
    "GROUPS",
    "Catalogue",
    "Gap",
    "GroupObjective",
    "GroupValues",
    "HeldOut",
    "Objective",
    "Outcome",
    "Predicted",
    "Ratio",
    "SetObjective",
    "UserObjective",
    "WorstGroup",
    "parse",
]

_FAMILIES: tuple[type[Objective], ...] = (
    NDCG,
    Precision,
    Recall,
    F1,
    Hit,
    MRR,
    AUC,
    GroupedAUC,
    TailNDCG,
    ColdNDCG,
    MSE,
    RMSE,
    PooledAUC,
    LogLoss,
    CalibrationError,
    IntraListDistance,
    TextDistance,
    CategoryEntropy,
    EPC,
    Novelty,
    ProfileDistance,
    Calibration,
    Personalization,
    Coverage,
    ExposureGini,
    TailExposure,
    CategoryExposure,
    Revenue,
    ExpectedRevenue,
    PriceNDCG,
    Value,
    ValueNDCG,
    SignalNDCG,
    Risk,
    TrainSeconds,
    Parameters,
    Flops,
    LatencyMedian,
    LatencyTail,
)
_GROUPS: tuple[type[GroupObjective], ...] = (WorstGroup, Gap, Ratio, GroupMean)

FAMILIES: Registry[type[Objective]] = Registry("objective", {c.family: c for c in _FAMILIES})
"""Family -> objective made from ``(k, signal)``."""

GROUPS: Registry[type[GroupObjective]] = Registry(
    "objective over groups", {c.family: c for c in _GROUPS}
)
"""Family -> objective made from ``(per-user objective, attribute)``."""

_PLAIN = re.compile(
    r"(?P<family>\w+)(?:@(?P<k>[1-9]\d*))?(?:\[(?P<signal>[^\[\]\s]+)\])?", re.ASCII
)
_GROUP = re.compile(r"(?P<family>\w+)\(\s*(?P<base>.*\S)\s+by\s+(?P<attribute>[^\s()]+)\s*\)")


def parse(name: str) -> Objective:
    """Return the objective of a name, as written in a config.

    Raises:
        BadRequestError: If the name cannot be read, no registry knows it, or its parts do not fit.
    """
    text = name.strip()
    if match := _GROUP.fullmatch(text):
        return _parse_group(text, match)
    if match := _PLAIN.fullmatch(text):
        return _parse_plain(text, match)
    raise BadRequestError(
        f'objective "{text}" cannot be read: write for example "ndcg@10", "ndcg@10[liked]", '
        '"train_seconds" or "worst(ndcg@10 by gender)"'
    )


def _forms(k: str) -> list[str]:
    plain = [f"{family}@{k}" if kind.takes_k else family for family, kind in FAMILIES.items()]
    return plain + [f"{family}(ndcg@{k} by ATTRIBUTE)" for family in GROUPS]


def _parse_plain(text: str, match: re.Match[str]) -> Objective:
    family, k, signal = match["family"], match["k"], match["signal"]
    if family not in FAMILIES:
        raise unknown("objective", text, _forms(k or "10"))
    kind = FAMILIES[family]
    if kind.takes_k and k is None:
        raise BadRequestError(f'objective "{text}" lacks the list length: write "{family}@10"')
    if not kind.takes_k and k is not None:
        raise BadRequestError(f'objective "{text}" takes no list length: write "{family}"')
    if signal and not kind.takes_signal:
        raise BadRequestError(
            f'objective "{text}" looks at no held-out items and takes no [signal]: '
            f'write "{text.split("[")[0]}"'
        )
    return kind(int(k), signal) if k else kind(signal=signal)


def _parse_group(text: str, match: re.Match[str]) -> Objective:
    if match["family"] not in GROUPS:
        raise unknown("objective over groups of users", match["family"], GROUPS)
    base = parse(match["base"])
    if not isinstance(base, UserObjective):
        raise BadRequestError(
            f'objective "{text}" needs one value per user and "{base.name}" is one number for all '
            f'lists: write for example "{match["family"]}(ndcg@10 by {match["attribute"]})"'
        )
    return GROUPS[match["family"]](base, match["attribute"])
