"""Several searches together: hand calculations, and intervals of known truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_experiment import CONFIG, write_config

from pareto_rec.analysis.confirm import ledger, search_seeds, words
from pareto_rec.analysis.confirm.search_seeds import ConfirmedRun, over_searches, pooled
from pareto_rec.core.errors import BadRequestError

DRAWS, REPETITIONS = 300, 400


@pytest.mark.parametrize(("search", "own"), [(0.05, 0.02), (0.01, 0.03), (0.0, 0.03)])
def test_intervals_over_searches_hold_the_truth(search: float, own: float) -> None:
    """Searches differ by `search`, each meets users and seeds by `own`, all share users by .04."""
    rng, held, alone = np.random.default_rng(0), [], []
    for _ in range(REPETITIONS):
        shared, drawn = rng.normal(0, 0.04), rng.normal(0, 0.04, DRAWS)
        values = 1.0 + shared + rng.normal(0, search, 3) + rng.normal(0, own, 3)
        draws = values[:, None] + drawn + rng.normal(0, own, (3, DRAWS))
        found, _ = pooled(values, draws)
        held.append(found.low <= 1.0 <= found.high)
        low, high = np.quantile(draws[0], [0.025, 0.975])
        alone.append(low <= 1.0 <= high)
    assert 0.90 <= np.mean(held) <= 0.99
    if search > own:
        assert np.mean(alone) < 0.9  # one search says nothing of the others


def run(name: str, seed: int, search: float, rival: float) -> ConfirmedRun:
    noise = 1 + 0.02 * np.random.default_rng(seed).normal(size=2000)
    draws = {"search": search * noise, "fits": np.full(2000, rival), "baselines": np.zeros(2000)}
    values = {"search": search, "fits": rival, "baselines": 0.0}
    names = {"search": "search", "fits": f"best 4 of {seed}", "baselines": "baselines alone"}
    return ConfirmedRun(Path(name), seed, values, draws, names)


def test_ratios_are_averaged_by_their_logarithms_over_opponents_of_one_kind() -> None:
    """By hand: ratios 2, 2 and 4 have the geometric mean 16 ** (1 / 3)."""
    runs = [run("a", 1, 2.0, 1.0), run("b", 2, 1.0, 0.5), run("c", 3, 4.0, 1.0)]
    found = over_searches(runs)
    (row,) = found["opponents"]  # the other is worth nothing
    assert row["name"] == "best 4 of 1"
    assert row["ratios"] == pytest.approx([2.0, 2.0, 4.0])
    assert row["ratio"]["value"] == pytest.approx(16 ** (1 / 3))
    assert row["ratio"]["low"] < 2.0 < 4.0 < row["ratio"]["high"]
    assert row["p_holm"] == row["p"]
    (said,) = search_seeds.in_words(found)
    assert "Over 3 searches with other seeds" in said
    assert "single searches 2.00, 2.00, 4.00" in said
    assert words.is_of_searches(said)
    runs[1] = dataclasses.replace(runs[1], is_void=True)
    (said,) = search_seeds.in_words(over_searches(runs))
    assert said.startswith("Void (b): over 3 searches")


def test_runs_of_equal_results_have_no_variance_of_the_search() -> None:
    one, *others = (run(name, 1, 2.0, 1.0) for name in "abc")
    (row,) = over_searches([one, *others])["opponents"]
    low, high = (one.draws["search"][np.argsort(one.draws["search"])[[49, 1950]]]).tolist()
    assert row["ratio"]["low"] == pytest.approx(low, rel=0.01)
    assert row["ratio"]["high"] == pytest.approx(high, rel=0.01)


def config(path: Path, seed: int, population: int = 3) -> Path:
    text = CONFIG.replace("population = 3", f"population = {population}")
    write_config(path, f"seed = {seed}\n{text}")
    return path


def test_only_runs_of_other_seeds_say_how_much_searches_vary(tmp_path: Path) -> None:
    first, alike = config(tmp_path / "a", 1), config(tmp_path / "b", 2)
    search_seeds.check_alike([first, alike])
    with pytest.raises(BadRequestError, match="a run is named twice"):
        search_seeds.check_alike([first, first])
    with pytest.raises(BadRequestError, match=r"has the seed of .*, 1: search with --set seed=N"):
        search_seeds.check_alike([first, config(tmp_path / "c", 1)])
    with pytest.raises(BadRequestError, match="has another config than"):
        search_seeds.check_alike([first, config(tmp_path / "d", 3, population=16)])


def test_draws_are_read_back_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    folder = config(tmp_path / "a", 4)
    assert not search_seeds.is_confirmed(folder)
    ledger.note_opening(folder, 3)
    fronts = [
        {"kind": kind, "name": kind, "hypervolume": {"test": {"value": value}}}
        for kind, value in (("search", 2.0), ("fits", 1.0))
    ]
    draws = {"search": np.array([2.0, 2.1]), "fits": np.array([1.0, 0.9])}
    ledger.write(folder, {"fronts": fronts, "answer": {"says": []}}, [{"id": "a"}], draws)
    assert search_seeds.is_confirmed(folder)
    found = search_seeds.read_confirmed_run(folder)
    assert (found.seed, found.values) == (4, {"search": 2.0, "fits": 1.0})
    np.testing.assert_array_equal(found.draws["fits"], draws["fits"])
    ledger.amend(folder, {"search_seeds": {"seeds": [4, 5]}})
    assert len(ledger.openings(folder)) == 1
    assert search_seeds.is_confirmed(folder)
    (folder / "confirm_draws.npz").write_bytes(b"no arrays")
    with pytest.raises(BadRequestError, match=r"confirm_draws.npz"):
        search_seeds.read_confirmed_run(folder)
