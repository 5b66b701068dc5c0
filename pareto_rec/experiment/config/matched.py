"""Losses matched to the objectives of a run: ``loss_weights = "objectives"``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pareto_rec.core.notices import notice
from pareto_rec.tasks import BUILT_IN, PREFIX

OBJECTIVES = "objectives"  # what stands in a config in place of the simplex of losses
SOFTMAX, GROUP_GAP, GAIN_SOFTMAX = "softmax", "group_gap", "gain_softmax"
OF_TASK = "task"  # in the table: the loss of the task whose prediction is measured

MATCHED: Mapping[str, str] = MappingProxyType(
    {
        # what ranks: the cross-entropy, weighted by what a hit is worth
        **dict.fromkeys(
            ("ndcg", "precision", "recall", "f1", "hit", "mrr", "auc", "grouped_auc"), SOFTMAX
        ),
        "tail_ndcg": "tail_softmax",
        "epc": "novelty_softmax",
        **dict.fromkeys(("revenue", "expected_revenue", "price_ndcg"), "price_softmax"),
        **dict.fromkeys(("value", "value_ndcg", "signal_ndcg"), GAIN_SOFTMAX),
        # what looks at the lists alone: expectations under the predicted distribution
        **dict.fromkeys(("ild", "category_entropy"), "similarity"),
        **dict.fromkeys(("novelty", "tail_exposure"), "popularity"),
        **dict.fromkeys(("coverage", "exposure_gini", "personalization"), "exposure"),
        "calibration": "calibration",
        # what looks at predictions
        **dict.fromkeys(("mse", "rmse", "pooled_auc", "log_loss", "calibration_error"), OF_TASK),
        # what compares groups of users, besides the loss of what it compares
        **dict.fromkeys(("worst", "gap", "ratio"), GROUP_GAP),
        "mean": "",
    }
)
"""Family of objectives -> the loss that trains for it; "" for that of the objective within. What is
not here has no loss: costs, rates of what goes wrong, items that no row trains, distances of texts
and of profiles."""

_GROUP = re.compile(r"\s*(\w+)\(\s*(.*\S)\s+by\s+([^\s()]+)\s*\)\s*")
_PLAIN = re.compile(r"\s*(\w+)(?:@\d+)?(?:\[([^\[\]\s]+)\])?\s*")


@dataclass(frozen=True)
class Match:
    """A loss for an objective.

    Attributes:
        loss: Its name.
        group: Attribute of users that it compares; "" for none.
        gain: Gain that it weighs by, where that is no part of its name; "" for none.
    """

    loss: str
    group: str = ""
    gain: str = ""


def losses_for(objective: str, relevance: str, liked: str, tasks: Sequence[str]) -> list[Match]:
    """Return the losses that train for an objective; none where there is no such loss.

    Args:
        objective: As a config names it.
        relevance: Signal that counts as relevant where it names none.
        liked: Signal of the built-in task ``liked``.
        tasks: Names of the config's own tasks.
    """
    if group := _GROUP.fullmatch(objective):
        family, within, attribute = group.groups()
        found = losses_for(within, relevance, liked, tasks)
        if MATCHED.get(family) == GROUP_GAP and not attribute.startswith("item."):
            found.append(Match(GROUP_GAP, group=attribute))
        return found if MATCHED.get(family) is not None else []
    plain = _PLAIN.fullmatch(objective)
    loss = MATCHED.get(plain[1]) if plain else None
    if not plain or not loss:
        return []
    signal = plain[2] or relevance
    if loss == GAIN_SOFTMAX:
        return [Match(loss, gain=f"signal={signal}")]
    if loss != OF_TASK:
        return [Match(loss)]
    names = [BUILT_IN[0] if name == liked else name for name in signal.split("*")]
    known = {**{name: name for name in BUILT_IN}, **{name: f"{PREFIX}{name}" for name in tasks}}
    return [Match(known[name]) for name in names if name in known]


def with_matched_losses(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write out the simplex that ``space.train.loss_weights = "objectives"`` stands for.

    Its losses are the plain softmax and those of `MATCHED` for the searched objectives, none with a
    floor, and those of the config's own tasks. ``fixed.group`` and ``fixed.gain`` say what they
    compare and weigh by, unless the config does; there is one of each, that of the first objective.
    A notice names the objectives without a loss of their own.

    Args:
        table: A config as it was read; what is wrong with it is said when it is validated.
    """
    searched = _table(_table(table, "space"), "train")
    if searched.get("loss_weights") != OBJECTIVES:
        return table
    data, tasks = _table(table, "data"), _names(table.get("task"))
    signals = str(data.get("relevance", "watched")), str(data.get("liked", "liked"))
    fixed, losses, alone = dict(_table(table, "fixed")), [SOFTMAX], []
    for objective in _names(table.get("objective")):
        found = losses_for(objective, *signals, tasks)
        kept = [match for match in found if _taken(match, fixed, searched)]
        losses += [match.loss for match in kept]
        if not kept or len(kept) < len(found):
            alone.append(objective)
    if alone:
        notice(
            f'loss_weights = "{OBJECTIVES}": no loss of their own trains for '
            f"{', '.join(alone)}; serving variables do"
        )
    names = list(dict.fromkeys([*losses, *(f"{PREFIX}{name}" for name in tasks)]))
    simplex = {"kind": "simplex", "names": names}
    space = {**table["space"], "train": {**searched, "loss_weights": simplex}}
    return {**table, "space": space, **({"fixed": fixed} if fixed else {})}


def _taken(match: Match, fixed: dict[str, Any], searched: Mapping[str, Any]) -> bool:
    """Set the training variables that a match needs; False where they have another value."""
    for name, value in (("group", match.group), ("gain", match.gain)):
        if value and name not in searched and fixed.setdefault(name, value) != value:
            return False
    return True


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key)
    return value if isinstance(value, Mapping) else {}


def _names(tables: object) -> list[str]:
    """Return the names of an array of tables."""
    own = tables if isinstance(tables, list) else []
    names = [one.get("name") for one in own if isinstance(one, Mapping)]
    return [name for name in names if isinstance(name, str)]
