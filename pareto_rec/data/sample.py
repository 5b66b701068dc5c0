"""Samples: of the users that a stage evaluates, and of a complete data set for a try."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Dataset, IntArray, Interactions, Stage
from pareto_rec.data.table.build import compact

MOST_SCORES = 100_000_000  # per scorer, beyond which users are drawn by default
_MANY = 10  # relevant rows of a user that are enough for any split
_TRIES = 20  # users that are looked at for each that is wanted
FEWEST_USERS = 500  # that are drawn then, however large the catalogue is


def users_to_ask(stage: Stage, wanted: int) -> int:
    """Choose how many users a stage is evaluated on.

    Args:
        stage: Whose users.
        wanted: What the config says; 0: all of them, or as many as `MOST_SCORES` allow where that
            would be too many, `FEWEST_USERS` at least.
    """
    n_users, n_items = stage.shape
    if wanted:
        return min(wanted, n_users)
    return min(n_users, max(FEWEST_USERS, MOST_SCORES // max(n_items, 1)))


def sample_users(stage: Stage, count: int, *, seed: int) -> Stage:
    """Restrict a stage to some of its users, renumbered.

    Those with a truth are drawn first: no other user counts in a measure of accuracy. The
    draw depends on ids and seed, not on how users are numbered. `train` holds the drawn users'
    rows alone, so what is learnt has to be learnt from the whole stage.

    Args:
        stage: What is sampled; returned as it is where `count` leaves no user out.
        count: Users to draw, at least one.
        seed: Draws.

    Raises:
        BadRequestError: If `count` is below 1.
    """
    if count < 1:
        raise BadRequestError(f"evaluate.users = {count}: at least one user has to be evaluated")
    if count >= len(stage.users):
        return stage
    keys = _hashes(stage.users.ids, seed)
    has_truth = np.zeros(len(stage.users), dtype=bool)
    has_truth[stage.truth.user] = True
    drawn = np.sort(np.lexsort((keys, ~has_truth))[:count])
    numbers = np.full(len(stage.users), -1, dtype=np.int64)
    numbers[drawn] = np.arange(count)
    attributes = {
        name: tuple(values[user] for user in drawn)
        for name, values in stage.users.attributes.items()
    }
    people = replace(
        stage.users, ids=tuple(stage.users.ids[user] for user in drawn), attributes=attributes
    )
    parts = {part.name: getattr(stage, part.name) for part in fields(stage)}
    rows = {name: value for name, value in parts.items() if isinstance(value, Interactions)}
    once = {id(value): _of(value, numbers) for value in rows.values()}  # train may be history too
    label = f"{stage.content_hash} users {count} {seed}"
    changed: dict[str, Any] = {name: once[id(value)] for name, value in rows.items()}
    changed["content_hash"] = hashlib.sha256(label.encode()).hexdigest()
    return replace(stage, users=people, **changed)


def sample_dataset(
    dataset: Dataset, users: int, items: int, *, relevance: str, seed: int
) -> Dataset:
    """Restrict a data set to some users with all their rows, and the items of these rows.

    Users of many relevant rows (ten count as many) come first, those of equally many in a drawn
    order; a user whose items would be too many is passed over. So the parts of a split are no
    emptier than those of the whole, and what is learnt is learnt from whole histories.

    Args:
        dataset: What is sampled; returned as it is where no user is left out.
        users: Most users; 0 for all.
        items: Most items; 0 for all. One user with more of them keeps the first ones in time.
        relevance: Signal that counts as relevant.
        seed: Draws.
    """
    people, catalogue = len(dataset.users), len(dataset.items)
    if (not users or people <= users) and (not items or catalogue <= items):
        return dataset
    rows = dataset.interactions.take(
        np.lexsort((dataset.interactions.time, dataset.interactions.user))
    )
    wanted = np.bincount(rows.user[rows.signals[relevance] > 0], minlength=people)
    keys = _hashes(dataset.users.ids, seed)
    order = np.lexsort((keys, -np.minimum(wanted, _MANY)))
    which = _chosen_rows(rows, order, users or people, items or catalogue)
    sampled, goods, who = compact(rows.take(which), dataset.items, dataset.users, keep=False)
    message = f"{len(who):,} of {people:,} users with {len(goods):,} of {catalogue:,} items"
    account = dict(dataset.account or {})
    if isinstance(notes := account.get("notes"), Mapping):
        account["notes"] = {**notes, "of what is used, a sample is taken": message}
    return replace(
        dataset,
        interactions=sampled.read_only(),
        items=goods,
        users=who,
        account=account or None,
    )


def _chosen_rows(rows: Interactions, order: IntArray, users: int, items: int) -> IntArray:
    """Choose rows of users in an order, as long as neither they nor their items are too many."""
    starts = np.searchsorted(rows.user, np.arange(len(order) + 1))
    met = np.zeros(int(rows.item.max(initial=0)) + 1, dtype=bool)
    chosen: list[IntArray] = []
    left = items
    for user in order[: users * _TRIES].tolist():
        own = np.arange(starts[user], starts[user + 1])
        new = np.unique(rows.item[own][~met[rows.item[own]]])
        if len(own) and len(new) <= left:
            met[new] = True
            left -= len(new)
            chosen.append(own)
        if len(chosen) == users:
            break
    if not chosen:  # all users have too many: the first items of one
        own = np.arange(starts[order[0]], starts[order[0] + 1])
        _, first = np.unique(rows.item[own], return_index=True)
        first_items = rows.item[own[np.sort(first)[:items]]]
        chosen = [own[np.isin(rows.item[own], first_items)]]
    return np.sort(np.concatenate(chosen))


def _of(rows: Interactions, numbers: IntArray) -> Interactions:
    """Select rows of the drawn users; ``numbers [users]`` are their new ones (-1: not drawn)."""
    drawn = rows.take(numbers[rows.user] >= 0)
    return replace(drawn, user=numbers[drawn.user])


def _hashes(ids: tuple[str, ...], seed: int) -> IntArray:
    key = seed.to_bytes(16, "big", signed=True)
    raw = b"".join(hashlib.blake2b(id_.encode(), digest_size=8, key=key).digest() for id_ in ids)
    return np.frombuffer(raw, dtype=">i8").astype(np.int64)
