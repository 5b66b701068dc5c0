"""What every baseline promises."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from pareto_rec.baselines import BASELINES, Baseline, ItemModel
from pareto_rec.data.schema import Interactions, Items, Stage, Users
from pareto_rec.testing.contract import Contract, only

USERS, ITEMS = 61, 23


def log_of(
    users: np.ndarray, items: np.ndarray, times: np.ndarray, watched: np.ndarray | None = None
) -> Interactions:
    """Rows sorted by user and time, their arrays read-only."""
    order = np.lexsort((times, users))
    signal = np.ones(len(users)) if watched is None else watched[order]
    signals = {"watched": signal.astype(np.float32)}
    rows = Interactions(users[order], items[order], times[order], signals)
    for array in (rows.user, rows.item, rows.time):
        array.flags.writeable = False
    return rows


def toy_stage(seed: int, relabel: np.ndarray | None = None) -> Stage:
    """Every user likes one half of the catalogue; user 0 has no history at all.

    Every user but that one was shown other items, too, and did not take them.
    """
    rng = np.random.default_rng(seed)
    likely = np.where((np.arange(USERS)[:, None] + np.arange(ITEMS)) % 2, 0.45, 0.08)
    users, items = np.nonzero(rng.random((USERS, ITEMS)) < likely)
    users, items = users[users > 0], items[users > 0]
    times = rng.permutation(len(users)).astype(np.int64)
    names = tuple(str(n) for n in range(ITEMS))
    refused = (rng.random((USERS, ITEMS)) < 0.3) & (np.arange(USERS)[:, None] > 0)
    refused[users, items] = False
    others, left = np.nonzero(refused)
    late = rng.integers(0, len(users), len(others))
    items, left = (n if relabel is None else relabel[n] for n in (items, left))
    rows = log_of(users.astype(np.int64), items.astype(np.int64), times)
    shown = log_of(
        np.concatenate([users, others]),
        np.concatenate([items, left]),
        np.concatenate([times, late]),
        np.repeat([1.0, 0.0], [len(users), len(others)]),
    )
    catalogue = Items(names, names, names, np.zeros((ITEMS, 1), np.float32), ("c",))
    people = Users(tuple(str(n) for n in range(USERS)), {})
    return Stage("validation", rows, rows, rows, catalogue, people, f"toy {seed}", shown, shown)


def reads_histories(baseline: Baseline) -> bool:
    """Whether its scores depend on who is asked for."""
    stage = toy_stage(0)
    return baseline.learn(stage).weights is not None


class BaselineContract(Contract):
    """Tests of baselines: `subjects` are registered names."""

    argument = "baseline"

    def cases(self) -> list[Baseline]:
        """The baselines of those names.

        Raises:
            LookupError: If one is not registered.
        """
        missing = set(self.subjects) - set(BASELINES)
        if missing:
            raise LookupError(f'register("{min(missing)}", baseline=...) first')
        return [BASELINES[name] for name in self.subjects]

    def label(self, case: Baseline) -> str:
        """Its name."""
        return next(name for name, baseline in BASELINES.items() if baseline is case)

    def test_scores_cover_everybody_and_everything(self, baseline: Baseline) -> None:
        scores = baseline.scores(toy_stage(0))
        assert scores.shape == (USERS, ITEMS)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert np.ptp(scores) > 0

    def test_the_same_stage_gives_the_same_scores(self, baseline: Baseline) -> None:
        np.testing.assert_array_equal(baseline.scores(toy_stage(1)), baseline.scores(toy_stage(1)))

    def test_a_fitted_model_scores_people_it_never_saw(self, baseline: Baseline) -> None:
        stage = toy_stage(2)
        model = baseline.learn(stage)
        assert isinstance(model, ItemModel)
        of_user = stage.history.item[stage.history.user == 17]
        alone = model.score(np.array([0, len(of_user)]), of_user)
        np.testing.assert_allclose(alone[0], baseline.scores(stage)[17], rtol=1e-5, atol=1e-6)

    def test_an_empty_history_gets_the_bias_alone(self, baseline: Baseline) -> None:
        stage = toy_stage(3)
        model = baseline.learn(stage)
        np.testing.assert_array_equal(baseline.scores(stage)[0], model.bias)

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_the_numbering_of_items_does_not_matter(self, baseline: Baseline, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(ITEMS)
        plain, moved = (
            baseline.scores(toy_stage(seed)),
            baseline.scores(toy_stage(seed, relabel=order)),
        )
        np.testing.assert_allclose(moved[:, order], plain, rtol=1e-4, atol=1e-5)

    def test_held_out_rows_are_not_used(self, baseline: Baseline) -> None:
        stage = toy_stage(4)
        other = dataclasses.replace(stage, held_out=stage.held_out.take(np.arange(3)))
        np.testing.assert_array_equal(baseline.scores(stage), baseline.scores(other))

    def test_it_learns_from_train_and_reads_the_history(self, baseline: Baseline) -> None:
        stage = toy_stage(5)
        short = stage.history.take(np.flatnonzero(stage.history.user != 30))
        forgotten = dataclasses.replace(stage, history=short)
        plain, without = baseline.scores(stage), baseline.scores(forgotten)
        others = np.arange(USERS) != 30
        np.testing.assert_allclose(without[others], plain[others], rtol=1e-5, atol=1e-6)
        model = baseline.learn(stage)
        np.testing.assert_array_equal(without[30], model.bias)

    def test_items_without_rows_are_no_obstacle(self, baseline: Baseline) -> None:
        stage = toy_stage(6)
        train = stage.train.take(np.flatnonzero(stage.train.item != 5))
        assert np.isfinite(baseline.scores(dataclasses.replace(stage, train=train))).all()

    def test_inputs_are_not_mutated(self, baseline: Baseline) -> None:
        stage, before = toy_stage(7), toy_stage(7)
        baseline.scores(stage)
        assert stage.train.content_hash == before.train.content_hash
        assert stage.history.content_hash == before.history.content_hash

    def test_parameters_are_frozen_and_can_be_written_down(self, baseline: Baseline) -> None:
        parameters = json.loads(json.dumps(baseline.parameters()))
        assert type(baseline)(**parameters) == baseline
        with pytest.raises(dataclasses.FrozenInstanceError):
            baseline.tau = 1.0  # type: ignore[attr-defined]
        assert (type(baseline).__doc__ or "").splitlines()[0].endswith(".")

    @only(reads_histories)
    def test_it_tells_the_two_halves_apart(self, baseline: Baseline) -> None:
        """Quality floor: unseen items of the user's half score above those of the other half."""
        stage = toy_stage(8)
        scores = baseline.scores(stage)
        seen = np.zeros((USERS, ITEMS), bool)
        seen[stage.history.user, stage.history.item] = True
        own = (np.arange(USERS)[:, None] + np.arange(ITEMS)) % 2 == 1
        margin = [
            scores[u][~seen[u] & own[u]].mean() - scores[u][~seen[u] & ~own[u]].mean()
            for u in range(1, USERS)
        ]
        assert np.mean(np.array(margin) > 0) > 0.8
