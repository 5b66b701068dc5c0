"""Per-user split by time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.schema import Dataset, IntArray, Interactions, Split, Stage
from pareto_rec.errors import BadRequestError
from pareto_rec.seeds import child_seed

HashArray = NDArray[np.uint64]


def split_per_user(dataset: Dataset, *, validation: float, test: float, seed: int) -> Split:
    """Hold out each user's last rows: the very last for the test, those before for validation.

    Of a user's ``n`` rows the first ``floor(n * (1 - validation - test))``, one at least, are for
    training, those up to ``floor(n * (1 - test))`` for validation and the rest for the test. Rows
    of one moment are ordered by a seeded hash of the original user and item ids: neither the order
    of the file nor the numbering of users and items has a say.

    Args:
        dataset: What to split; not altered.
        validation: Share of each user's rows, above 0.
        test: Share of each user's rows, above 0; both together below 1.
        seed: Orders ties in time.

    Raises:
        BadRequestError: If a share is out of range, or a part would be empty.
    """
    _check_shares(validation, test)
    rows = _ordered(dataset, seed)
    counts = np.bincount(rows.user, minlength=len(dataset.users)).astype(np.int64)
    kept = np.maximum(_floor(counts * (1 - validation - test)), np.minimum(counts, 1))
    known = np.maximum(_floor(counts * (1 - test)), kept)
    n_test, n_validation = counts - known, known - kept
    left = np.cumsum(counts)[rows.user] - np.arange(len(rows)) - 1  # rows of the user still to come
    in_test = left < n_test[rows.user]
    in_validation = ~in_test & (left < (n_test + n_validation)[rows.user])
    parts = {"validation": in_validation, "test": in_test, "train": ~(in_test | in_validation)}
    for name, mask in parts.items():
        if not mask.any():
            raise BadRequestError(
                f"the {name} part of {dataset.name} is empty: no user has enough rows for "
                f"validation = {validation:g} and test = {test:g} (largest: {counts.max(initial=0)}"
                " rows); raise the share or bring more data"
            )
    train, held, last = (_take(rows, parts[name]) for name in ("train", "validation", "test"))
    ordered = Dataset(dataset.name, rows, dataset.items, dataset.users)
    base = f"per-user-by-time-2 {ordered.content_hash} {validation!r} {test!r} {seed}"

    def stage(name: str, history: Interactions, held_out: Interactions) -> Stage:
        digest = hashlib.sha256(f"{base} {name}".encode()).hexdigest()
        return Stage(name, train, history, held_out, dataset.items, dataset.users, digest)

    return Split(
        stage("validation", train, held),
        stage("test", _take(rows, ~in_test), last),
        late_train_share=float((train.time > np.median(last.time)).mean()),
    )


def _check_shares(validation: float, test: float) -> None:
    for name, share in (("validation", validation), ("test", test)):
        if not 0.0 < share < 1.0:
            raise BadRequestError(f"split share {name} = {share:g} must lie between 0 and 1")
    if validation + test >= 1.0:
        raise BadRequestError(
            f"split shares validation = {validation:g} and test = {test:g} leave nothing to train "
            "on; together they must stay below 1"
        )


def _floor(values: NDArray[np.floating[Any]]) -> IntArray:
    # 0.29 * 100 is 28.999999999999996: the nudge keeps it from losing a row.
    floors: IntArray = np.floor(values + 1e-9).astype(np.int64)
    return floors


def _ordered(dataset: Dataset, seed: int) -> Interactions:
    """All rows by user, time and tie hash; rows alike in all three by their signals."""
    rows = dataset.interactions
    ties = _pair_hash(
        _id_hash(dataset.users.ids, child_seed(seed, "split", "user"))[rows.user],
        _id_hash(dataset.items.ids, child_seed(seed, "split", "item"))[rows.item],
    )
    keys: list[NDArray[np.generic]] = [ties, rows.time, rows.user]
    order = np.lexsort(keys)
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for key in keys:
        same &= key[order[1:]] == key[order[:-1]]
    if same.any():
        order = np.lexsort([rows.signals[name] for name in sorted(rows.signals)] + keys)
    return _take(rows, order)


def _take(rows: Interactions, which: IntArray | NDArray[np.bool_]) -> Interactions:
    """Rows as read-only arrays."""
    taken = rows.take(which)
    for array in (taken.user, taken.item, taken.time):
        array.flags.writeable = False
    for values in taken.signals.values():
        values.flags.writeable = False
    return taken


def _id_hash(ids: Sequence[str], key: int) -> HashArray:
    """Keyed 64-bit hash per id ``[ids]``."""
    secret = key.to_bytes(8, "big")
    raw = b"".join(hashlib.blake2b(id_.encode(), digest_size=8, key=secret).digest() for id_ in ids)
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64)


def _pair_hash(first: HashArray, second: HashArray) -> HashArray:
    """Mix two hashes per row into one (finaliser of SplitMix64, Steele et al. 2014)."""
    mixed: HashArray = first + second * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
