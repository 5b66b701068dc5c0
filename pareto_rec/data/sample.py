"""A sample of the users that a stage asks about, where all would be too many to evaluate."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from typing import Any

import numpy as np

from pareto_rec.data.schema import IntArray, Interactions, Stage
from pareto_rec.errors import BadRequestError

MOST_SCORES = 100_000_000  # per scorer, beyond which users are drawn if nobody says how many
FEWEST_USERS = 500  # that are drawn then, however large the catalogue is


def users_to_ask(stage: Stage, wanted: int) -> int:
    """How many users a stage is evaluated on.

    Args:
        stage: Whose users.
        wanted: What the config says; 0: everybody, or as many as `MOST_SCORES` allow where that
            would be too many, `FEWEST_USERS` at least.
    """
    n_users, n_items = stage.shape
    if wanted:
        return min(wanted, n_users)
    return min(n_users, max(FEWEST_USERS, MOST_SCORES // max(n_items, 1)))


def sample_users(stage: Stage, count: int, *, seed: int) -> Stage:
    """The stage as it is for some of its users; they are numbered anew.

    Those with a truth are drawn first: nobody else counts in a measure of accuracy. Who is
    drawn depends on ids and seed, not on how users are numbered. `train` holds the drawn users'
    rows alone, so what is learnt has to be learnt from the whole stage.

    Args:
        stage: What is sampled; returned as it is where `count` leaves nobody out.
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
    asked = np.zeros(len(stage.users), dtype=bool)
    asked[stage.truth.user] = True
    drawn = np.sort(np.lexsort((keys, ~asked))[:count])
    place = np.full(len(stage.users), -1, dtype=np.int64)
    place[drawn] = np.arange(count)
    attributes = {
        name: tuple(values[one] for one in drawn) for name, values in stage.users.attributes.items()
    }
    people = replace(
        stage.users, ids=tuple(stage.users.ids[one] for one in drawn), attributes=attributes
    )
    parts = {part.name: getattr(stage, part.name) for part in fields(stage)}
    rows = {name: value for name, value in parts.items() if isinstance(value, Interactions)}
    once = {id(value): _of(value, place) for value in rows.values()}  # train may be history too
    label = f"{stage.content_hash} users {count} {seed}"
    changed: dict[str, Any] = {name: once[id(value)] for name, value in rows.items()}
    changed["content_hash"] = hashlib.sha256(label.encode()).hexdigest()
    return replace(stage, users=people, **changed)


def _of(rows: Interactions, place: IntArray) -> Interactions:
    """Rows of the drawn users, ``place [users]`` being their new numbers (-1: not drawn)."""
    kept = rows.take(place[rows.user] >= 0)
    return replace(kept, user=place[kept.user])


def _hashes(ids: tuple[str, ...], seed: int) -> IntArray:
    key = seed.to_bytes(16, "big", signed=True)
    raw = b"".join(hashlib.blake2b(one.encode(), digest_size=8, key=key).digest() for one in ids)
    return np.frombuffer(raw, dtype=">i8").astype(np.int64)
