"""Splits of a log into train, validation and test; one function each.

A function sees a :class:`Log` and says which rows belong to which part. Its docstring says how it
cuts and, under ``Leaks:``, what a recommender may learn from it that it could not know in service.
Nothing here depends on the order of the file or on how users and items are numbered: time, and
hashes of the original ids, decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.schema import IntArray, Interactions

HashArray = NDArray[np.uint64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Log:
    """A log as a cut sees it.

    Attributes:
        rows: All rows by user, then time, ties by a seeded hash.
        user_hash: Seeded hash of every user's original id ``[users]``.
        item_hash: Seeded hash of every item's original id ``[items]``.
        validation: Share to hold out for validation, above 0.
        test: Share to hold out for the test, above 0; both together below 1.
    """

    rows: Interactions
    user_hash: HashArray
    item_hash: HashArray
    validation: float
    test: float

    @property
    def train_share(self) -> float:
        """Share that is left for training."""
        return 1 - self.validation - self.test

    def counts(self) -> tuple[IntArray, IntArray]:
        """Count rows per user ``[users]``; for each row, the later rows of its user."""
        counts = np.bincount(self.rows.user, minlength=len(self.user_hash)).astype(np.int64)
        left = np.cumsum(counts)[self.rows.user] - np.arange(len(self.rows)) - 1
        return counts, left


@dataclass(frozen=True)
class Parts:
    """Parts of a split: masks over the rows of a `Log`; no row is in two of these.

    Attributes:
        train: Learnt from, and history in both stages.
        validation: Held out for validation; history in the test.
        test: Held out for the test.
        validation_context: History of validation that is not learnt from; None for none.
        test_context: History of the test alone; None for none.
    """

    train: Mask
    validation: Mask
    test: Mask
    validation_context: Mask | None = None
    test_context: Mask | None = None


def per_user(log: Log) -> Parts:
    """Hold out each user's last rows: the very last for the test, those before for validation.

    Of a user's n rows the first ``floor(n (1 - validation - test))``, one at least, are for
    training, those up to ``floor(n (1 - test))`` for validation and the rest for the test.

    Leaks: time. Other users' training rows may be later than a held-out row, so that trends of its
    own future are known.

    Source: Meng et al., Exploring data splitting strategies for the evaluation of recommendation
    models, RecSys 2020 (temporal user split).
    """
    counts, left = log.counts()
    n_train = np.maximum(_floor(counts * log.train_share), np.minimum(counts, 1))
    n_known = np.maximum(_floor(counts * (1 - log.test)), n_train)
    user = log.rows.user
    in_test = left < (counts - n_known)[user]
    in_validation = ~in_test & (left < (counts - n_train)[user])
    return Parts(~(in_test | in_validation), in_validation, in_test)


def leave_last_out(log: Log) -> Parts:
    """Hold out each user's last row for the test, the one before for validation.

    Users with fewer than three rows are for training alone.

    Leaks: time, as per_user. One row per user is a noisy truth, and all users count alike however
    active they are.

    Source: Kang and McAuley, Self-attentive sequential recommendation, ICDM 2018, section IV.
    """
    counts, left = log.counts()
    enough = counts[log.rows.user] >= 3
    in_test, in_validation = enough & (left == 0), enough & (left == 1)
    return Parts(~(in_test | in_validation), in_validation, in_test)


def global_time(log: Log) -> Parts:
    """Cut all users at two moments: training rows before the first, test rows from the second on.

    The moments are those whose shares of rows come nearest to the wanted ones (of two equally near
    the earlier); rows of one moment stay together.

    Leaks: nothing of the future. Users and items that first appear after the cut have no training
    rows, so it also measures how they are coped with.

    Source: Campos, Díez and Cantador, Time-aware recommender systems, UMUAI 2014; Ji et al., A
    critical study on data leakage in recommender system offline evaluation, TOIS 2023.
    """
    time, rows = log.rows.time, len(log.rows)
    ordered = np.sort(time)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))  # first row of each moment
    if not len(starts):
        return _nobody(rows)
    first, second = (
        ordered[starts[np.abs(starts - np.rint(share * rows)).argmin()]]
        for share in (log.train_share, 1 - log.test)
    )
    return Parts(time < first, (first <= time) & (time < second), time >= second)


def random_rows(log: Log) -> Parts:
    """Hold out rows at random, of any user and time; rows of one user and item stay together.

    Shares of all rows, drawn by a seeded hash of user and item.

    Leaks: time, wholly. Half of the training rows are later than what is held out, mostly of the
    very same user, so sequence models and recency are worth less than in service.

    Source: Herlocker et al., Evaluating collaborative filtering recommender systems, TOIS 2004,
    section 3; on what it hides, Ji et al., TOIS 2023.
    """
    drawn = pair_hash(log.user_hash[log.rows.user], log.item_hash[log.rows.item])
    ordered = np.sort(drawn)
    n_test = int(_floor(np.array([len(drawn) * log.test]))[0])
    n_held = int(_floor(np.array([len(drawn) * (1 - log.train_share)]))[0])
    if not n_test:
        return _nobody(len(drawn))
    in_test = drawn < ordered[n_test]
    in_validation = ~in_test & (drawn < ordered[min(n_held, len(drawn) - 1)])
    return Parts(~(in_test | in_validation), in_validation, in_test)


def cold_items(log: Log) -> Parts:
    """Hold out items: a seeded share of items for validation, others for the test.

    Shares are of the items that have rows. No row of a held-out item is in training; validation
    knows nothing of the test's items, and no history holds an item that is held out.

    Leaks: time: training rows and history may be later than held-out rows. All other items are
    ranked beside the held-out ones, so values are low and only compare with each other; what learns
    from ids alone cannot score above chance.

    Source: Schein et al., Methods and metrics for cold-start recommendations, SIGIR 2002.
    """
    met = np.bincount(log.rows.item, minlength=len(log.item_hash)) > 0
    validation, test = _drawn(log.item_hash, met, log.validation, log.test)
    item = log.rows.item
    return Parts(~(validation | test)[item], validation[item], test[item])


def cold_users(log: Log) -> Parts:
    """Hold out users: the first half of their rows is history, the rest is held out.

    Shares are of the users with two rows or more; a user's history is ``floor(n / 2)`` rows. No row
    of a held-out user is in training; validation knows nothing of the test's users.

    Leaks: time: other users' training rows may be later than held-out rows. Lists are made for all
    users, so measures that need no held-out rows (diversity, coverage) also see users of training.

    Source: Liang et al., Variational autoencoders for collaborative filtering, WWW 2018, section 4
    (strong generalisation).
    """
    counts, left = log.counts()
    validation, test = _drawn(log.user_hash, counts >= 2, log.validation, log.test)
    user = log.rows.user
    late = left < (counts - counts // 2)[user]
    in_validation, in_test = validation[user], test[user]
    return Parts(
        ~(in_validation | in_test),
        in_validation & late,
        in_test & late,
        validation_context=in_validation & ~late,
        test_context=in_test & ~late,
    )


def _nobody(rows: int) -> Parts:
    """Put all rows into training."""
    return Parts(*(np.full(rows, part) for part in (True, False, False)))


def _drawn(ids: HashArray, able: Mask, validation: float, test: float) -> tuple[Mask, Mask]:
    """Draw two disjoint shares of those that are eligible, by their hashes."""
    order = np.argsort(ids, kind="stable")
    order = order[able[order]]
    n_test, n_held = _floor(len(order) * np.array([test, validation + test])).tolist()
    masks = np.zeros((2, len(ids)), dtype=bool)
    masks[1, order[:n_test]] = True
    masks[0, order[n_test:n_held]] = True
    return masks[0], masks[1]


def _floor(values: NDArray[np.floating[Any]]) -> IntArray:
    # 0.29 * 100 is 28.999999999999996: the nudge keeps it from losing a row.
    floors: IntArray = np.floor(values + 1e-9).astype(np.int64)
    return floors


def pair_hash(first: HashArray, second: HashArray) -> HashArray:
    """Mix two hashes per row into one (finaliser of SplitMix64, Steele et al. 2014)."""
    mixed: HashArray = first + second * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
