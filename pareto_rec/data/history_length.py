"""History length: how much is known of users and items when lists are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Interactions, Stage, Users

HISTORY_LENGTH = "history_length"
NAMES = ("none", "short", "medium", "long")


def with_history_length(users: Users, history: Interactions) -> Users:
    """Add the attribute ``history_length`` to users, unless they have one of that name.

    ``none`` for users without rows; the others in thirds by their number of rows, ``short``,
    ``medium`` and ``long``, users of equally many rows together in the shorter group.

    Args:
        users: The users; not altered.
        history: What is known of them when lists are made.
    """
    if HISTORY_LENGTH in users.attributes:
        return users
    counts = np.bincount(history.user, minlength=len(users))
    known = np.sort(counts[counts > 0])
    third, two_thirds = (
        (int(known[-(-len(known) * part // 3) - 1]) for part in (1, 2)) if len(known) else (0, 0)
    )
    group = (counts > 0).astype(int) + (counts > third) + (counts > two_thirds)
    values = tuple(NAMES[index] for index in group.tolist())
    return replace(users, attributes={**users.attributes, HISTORY_LENGTH: values})


def cold_start(stage: Stage) -> dict[str, int | list[str]]:
    """Count users and items of which nothing is known when lists are made, with notes on them.

    Returns:
        ``users`` without a history, ``items`` without a training row, and ``notes`` for people.
    """
    n_users, n_items = stage.shape
    users = n_users - len(np.unique(stage.history.user))
    items = n_items - len(np.unique(stage.train.item))
    notes = []
    if users:
        notes.append(
            f"{users:,} users have no history: experts that read it fall back on popularity, and "
            "the network gives all of them one list"
        )
    if items:
        notes.append(
            f"{items:,} items have no training row: experts and item embeddings cannot tell them "
            "apart, only their texts can"
        )
    return {"users": users, "items": items, "notes": notes}


def check_truth(stage: Stage, signal: str) -> None:
    """Refuse a stage without a relevant held-out row.

    Args:
        stage: What is predicted.
        signal: What counts as relevant.

    Raises:
        BadRequestError: If no held-out row is relevant, or all that are repeat a user's history.
    """
    if stage.relevance(signal).nnz:
        return
    rows = int((stage.held_out.signals[signal] > 0).sum())
    if not rows:
        raise BadRequestError(
            f'no {stage.name} row has "{signal}" above 0, so nothing can be measured: name '
            "another signal in data.relevance, or hold out more rows"
        )
    raise BadRequestError(
        f'all {rows:,} {stage.name} rows with "{signal}" above 0 are of items that their users had '
        "met before, and lists repeat no item, so nothing can be measured: set data.duplicates = "
        '"first", which keeps one row of each user and item'
    )
