"""Lists of a few users at every point of the front, in ``lists.json``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pareto_rec.data.schema import Items, Stage
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.ranking import recommend
from pareto_rec.runs.record import Record

FILE = "lists.json"
USERS = 6
LENGTH = 10  # longest list that is shown
HISTORY = 5  # latest items of a history that are shown

Lists = tuple[tuple[int, ...], ...]  # item indices per chosen user, best first


def chosen_users(stage: Stage, signal: str, count: int = USERS) -> NDArray[np.int64]:
    """Return people whose histories spread from short to long.

    Args:
        stage: Whom there is.
        signal: What counts as relevant.
        count: How many to choose.

    Returns:
        At most `count` users with a history and something relevant to predict, at even distances in
        the order of history length (equal ones by original id).
    """
    lengths = np.diff(stage.history_indptr)
    relevant = np.diff(stage.relevance(signal).indptr) > 0
    ids = np.array(stage.users.ids)
    known = np.flatnonzero(relevant & (lengths > 0))
    ordered = known[np.lexsort((ids[known], lengths[known]))]
    if not len(ordered):
        return ordered
    ends = np.linspace(0, len(ordered), min(count, len(ordered)) + 1)
    return ordered[((ends[:-1] + ends[1:]) / 2).astype(np.int64)]


def lists_of(evaluator: Evaluator, records: Sequence[Record], _: Path) -> list[tuple[str, Lists]]:
    """Return lists of the chosen users, by record id.

    Args:
        evaluator: Of the stage that the records were measured on.
        records: Records of the same fits.

    Raises:
        KeyError: If a fit is no longer stored.
    """
    users = chosen_users(evaluator.stage, evaluator.measuring.relevance)
    scorers, settings, _fits = evaluator.fused(records)
    of_users = scorers.take(torch.from_numpy(users))
    lists, _scores = recommend(of_users, settings, k=evaluator.measuring.measures.k)
    return [
        (record.id, tuple(tuple(row[row >= 0][:LENGTH].tolist()) for row in chosen))
        for record, chosen in zip(records, lists, strict=True)
    ]


def content(evaluator: Evaluator, lists_by_record: Iterable[tuple[str, Lists]]) -> dict[str, Any]:
    """Return what lists.json holds.

    Args:
        evaluator: Of the stage that the lists were made on.
        lists_by_record: Record id and lists, in the order of the front.

    Returns:
        ``stage``, ``relevance``, ``users`` (``id``, ``history``: number of items, ``last``: ids of
        the latest, newest first, ``held_out``: ids of the relevant ones to predict), ``lists``
        (record id -> item ids per user, best first) and ``items`` (id -> ``title``, ``categories``,
        ``popularity``: training rows) with every item that is named.
    """
    stage, signal = evaluator.stage, evaluator.measuring.relevance
    lists = dict(lists_by_record)
    ids, popularity = stage.items.ids, evaluator.measuring.catalogue.popularity
    truth = stage.relevance(signal)
    users = []
    named = {item for rows in lists.values() for row in rows for item in row}
    for user in chosen_users(stage, signal).tolist():
        begin, end = stage.history_indptr[user : user + 2].tolist()
        last = stage.history.item[begin:end][::-1][:HISTORY].tolist()
        held_out = sorted(truth.indices[truth.indptr[user] : truth.indptr[user + 1]].tolist())
        named |= {*last, *held_out}
        users.append(
            {
                "id": stage.users.ids[user],
                "history": end - begin,
                "last": [ids[item] for item in last],
                "held_out": [ids[item] for item in held_out],
            }
        )
    return {
        "stage": stage.name,
        "relevance": signal,
        "users": users,
        "lists": {key: [[ids[i] for i in row] for row in rows] for key, rows in lists.items()},
        "items": {ids[i]: _shown(stage.items, i, popularity) for i in sorted(named)},
    }


def _shown(items: Items, item: int, popularity: NDArray[np.int64]) -> dict[str, Any]:
    places = np.flatnonzero(items.categories[item])
    return {
        "title": items.titles[item],
        "categories": [items.category_names[index] for index in places],
        "popularity": int(popularity[item]),
    }
