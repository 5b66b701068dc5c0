"""Indicators by hand, what may be compared, paired intervals, groups, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_run import NAMES, REFERENCE, write_run
from tiny_experiment import CONFIG, environment

from pareto_rec.analysis.compare import compare_runs, lines
from pareto_rec.analysis.compare import indicators as ind
from pareto_rec.analysis.compare.significance import between_groups
from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.set_values import FILE as SETS
from pareto_rec.runs.set_values import SetValues, table_of

UP = [True, True]
FRONT = np.array([[1.0, 4.0], [3.0, 3.0], [4.0, 1.0]])
OTHER = np.array([[2.0, 2.0], [3.0, 3.0], [0.5, 5.0]])
HASHES = {"stage": "a" * 64, "features": "b" * 32}
USERS = 80


def make_run(folder: Path, *, seed: int) -> Path:
    """A synthetic run with a config and values per user that average to its front."""
    write_run(folder, seed=seed, fits=12, rows=20, change={"hashes": HASHES})
    (folder / "config.toml").write_text(f"seed = {seed}\n{CONFIG}")
    write_per_user(folder)
    return folder


def write_per_user(run: Path) -> None:
    front = pd.read_csv(run / "front.csv")
    rng = np.random.default_rng(7)  # the same people in every run
    noise = rng.normal(0, 0.05, (USERS, len(NAMES)))
    noise -= noise.mean(axis=0)
    frames = [
        pd.DataFrame(row[list(NAMES)].to_numpy(dtype=float) + noise, columns=list(NAMES)).assign(
            id=row["id"], user=[f"u{number:03d}" for number in range(USERS)]
        )
        for _, row in front.iterrows()
    ]
    (run / "per_user").mkdir(exist_ok=True)
    pd.concat(frames).to_parquet(run / "per_user" / "front.parquet")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of one config, and one of another."""
    folder = tmp_path_factory.mktemp("runs")
    made = [make_run(folder / f"seed{seed}", seed=seed) for seed in (1, 2)]
    other = make_run(folder / "other", seed=3)
    text = (other / "config.toml").read_text().replace("population = 3", "population = 4")
    (other / "config.toml").write_text(text)
    return [*made, other]


def test_coverage_by_hand() -> None:
    assert ind.coverage(FRONT, OTHER, maximise=UP) == pytest.approx(2 / 3)  # not (.5, 5)
    assert ind.coverage(OTHER, FRONT, maximise=UP) == pytest.approx(1 / 3)  # (3, 3) alone
    assert ind.coverage(-FRONT, -OTHER, maximise=[False, False]) == pytest.approx(2 / 3)


def test_igd_plus_by_hand() -> None:
    """The union front spans 0 to 1 in both; only what a front falls short counts as distance."""
    target = ind.union_front([FRONT, OTHER], maximise=UP)
    assert sorted(map(tuple, target.tolist())) == [(0.5, 5.0), (1.0, 4.0), (3.0, 3.0), (4.0, 1.0)]
    assert ind.igd_plus(target, target, maximise=UP) == 0.0
    # FRONT misses (.5, 5) alone: nearest is (1, 4), short by one of four in the second objective
    assert ind.igd_plus(FRONT, target, maximise=UP) == pytest.approx(0.25 / 4)


def test_attainment_by_hand() -> None:
    one, two = np.array([[2.0, 2.0]]), np.array([[3.0, 1.0]])
    by_all = ind.attainment([one, two], 100, maximise=UP)
    assert by_all.tolist() == [[2.0, 1.0]]
    by_any = ind.attainment([one, two], 0, maximise=UP)
    assert sorted(map(tuple, by_any.tolist())) == [(2.0, 2.0), (3.0, 1.0)]
    volumes = ind.attained_volumes([one, two], reference=[0.0, 0.0], maximise=UP)
    assert volumes == {"any": 5.0, "half": 5.0, "all": 2.0}
    mixed = ind.attainment([one, two], 100, maximise=[True, False])
    assert mixed.tolist() == [[2.0, 2.0]]


def test_runs_are_grouped_by_everything_but_the_seed(runs: list[Path]) -> None:
    content = compare_runs(runs)
    assert [row["group"] for row in content["runs"]] == ["A", "A", "B"]
    assert [row["seed"] for row in content["runs"]] == [1, 2, 3]
    first, second = content["groups"]
    assert first["attained"]["all"] <= first["attained"]["half"] <= first["attained"]["any"]
    assert second["attained"] is None
    assert first["hypervolume"]["sd"] > 0
    assert content["between_groups"] == []  # one run says nothing about chance


def test_hypervolumes_and_the_course_of_the_search(runs: list[Path]) -> None:
    """Hypervolumes by moocore on front.csv."""
    import moocore

    content = compare_runs(runs)
    for row, run in zip(content["runs"], runs, strict=True):
        values = pd.read_csv(run / "front.csv")[list(NAMES)].to_numpy()
        volume = moocore.hypervolume(values, ref=list(REFERENCE), maximise=True)
        assert row["hypervolume"] == pytest.approx(volume, rel=1e-9)
        assert row["course"]["hypervolume"][-1] == pytest.approx(volume, rel=1e-9)
        assert row["hypervolume"] <= content["union"]["hypervolume"] * (1 + 1e-12)
        assert np.all(np.diff(row["course"]["hypervolume"]) >= -1e-15)
    equal = content["at_equal"]
    assert set(equal) == {"fits", "seconds"}
    assert equal["fits"]["at"][-1] == 12
    assert all(len(one) == 4 for one in equal["seconds"]["hypervolume"].values())
    json.dumps(content, allow_nan=False)


def test_paired_ratios_hold_what_was_measured(runs: list[Path]) -> None:
    content = compare_runs(runs)
    paired = content["paired"]
    assert (paired["over"], len(paired["pairs"])) == ("users", 3)
    for pair in paired["pairs"]:
        ratio = pair["ratio"]
        assert ratio["low"] <= ratio["value"] <= ratio["high"]
        assert pair["p"] <= pair["p_holm"] <= min(1.0, 3 * pair["p"] + 1e-12)


def test_a_run_against_its_own_copy_is_no_different(tmp_path: Path) -> None:
    one, copy = (make_run(tmp_path / name, seed=1) for name in ("one", "copy"))
    content = compare_runs([one, copy])
    (pair,) = content["paired"]["pairs"]
    assert pair["ratio"]["value"] == 1.0
    assert pair["p_holm"] == 1.0
    assert content["coverage"][str(one)][str(copy)] == 1.0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"hashes": {"stage": "c" * 64}}, "its data differ under the same name: hash cccccccccccc"),
        (
            {"axis": ("reference", 0.2)},
            "its objectives differ: reference of ndcg@10 is 0.2, not 0.1",
        ),
        ({"axis": ("maximise", False)}, "maximise of ndcg@10 is False, not True"),
    ],
)
def test_runs_that_answer_other_questions_are_refused(
    runs: list[Path], tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    other = make_run(tmp_path / "other", seed=4)
    info = json.loads((other / "run.json").read_text())
    if "axis" in change:
        key, value = change["axis"]
        info["objectives"][0][key] = value
    else:
        info |= change
    (other / "run.json").write_text(json.dumps(info))
    with pytest.raises(
        BadRequestError, match=f"{other} cannot be compared with {runs[0]}: .*{why}"
    ):
        compare_runs([runs[0], other])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('name = "movielens-100k"', 'name = "other"', "its data differ: data.name = 'other'"),
        ("[backbone]", "[split]\nseed = 9\n\n[backbone]", "its splits differ: split.seed = 9, not"),
    ],
)
def test_the_refusal_names_data_and_split(
    runs: list[Path], tmp_path: Path, old: str, new: str, why: str
) -> None:
    other = make_run(tmp_path / "other", seed=4)
    text = (other / "config.toml").read_text()
    assert old in text
    (other / "config.toml").write_text(text.replace(old, new))
    with pytest.raises(BadRequestError, match=why):
        compare_runs([runs[0], other])


def test_one_run_is_no_comparison(runs: list[Path]) -> None:
    with pytest.raises(BadRequestError, match="two different runs at least"):
        compare_runs([runs[0], runs[0]])


def test_without_values_per_user_there_are_no_intervals_and_it_says_why(
    runs: list[Path], tmp_path: Path
) -> None:
    other = make_run(tmp_path / "other", seed=5)
    (other / "per_user" / "front.parquet").unlink()
    content = compare_runs([runs[0], other])
    assert content["paired"]["pairs"] == []
    assert any("no intervals over users" in line and str(other) in line for line in lines(content))


def test_an_objective_without_values_per_user_is_left_out_and_it_says_why(tmp_path: Path) -> None:
    one, two = (make_run(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    path = two / "per_user" / "front.parquet"
    pd.read_parquet(path).drop(columns="ild@10").to_parquet(path)
    paired = compare_runs([one, two])["paired"]
    assert paired["left_out"] == {"ild@10": f"{two} has no values of it per user"}
    assert paired["objectives"] == ["ndcg@10", "tail_ndcg@10"]
    assert paired["pairs"][0]["ratio"]["low"] < paired["pairs"][0]["ratio"]["high"]


SPREAD, WORST = "personalization@10", "worst(ndcg@10 by band)"


def renamed(run: Path, old: str, new: str) -> None:
    """Call an objective of a run otherwise, wherever it stands."""
    for name in ("run.json", "front.csv", "records.jsonl", "baselines.csv"):
        (run / name).write_text((run / name).read_text().replace(old, new))


def make_set_run(folder: Path, *, seed: int, spread: float = 0.05, users: int = USERS) -> Path:
    """A run that was searched on a set objective and on the worst of three groups."""
    run = make_run(folder, seed=seed)
    renamed(run, "tail_ndcg@10", WORST)
    renamed(run, "ild@10", SPREAD)
    path = run / "per_user" / "front.parquet"
    pd.read_parquet(path).drop(columns=["tail_ndcg@10", "ild@10"]).to_parquet(path)
    front = pd.read_csv(run / "front.csv")
    rng = np.random.default_rng(seed)  # people like other lists better, so that runs differ
    noise, band = rng.normal(0, 0.05, users), np.arange(users) % 3
    noise -= noise.mean()
    rows = [row for _, row in front[front["selected"] == 1].iterrows()]
    people = tuple(f"u{number:03d}" for number in range(users))
    sets = {
        SPREAD: SetValues(people, {r["id"]: r[SPREAD] + spread / 0.05 * noise for r in rows}),
        WORST: SetValues(people, {r["id"]: r[WORST] + noise for r in rows}, band, 3, 1),
    }
    (run / SETS).write_bytes(table_of(sets))
    return run


def test_set_and_group_objectives_are_resampled_over_users(tmp_path: Path) -> None:
    """Their intervals cover people: the wider, the more people differ."""
    widths = []
    for spread in (0.01, 0.05, 0.25):
        runs = [
            make_set_run(tmp_path / f"{spread} {seed}", seed=seed, spread=spread) for seed in (1, 2)
        ]
        paired = compare_runs(runs)["paired"]
        assert paired["objectives"] == ["ndcg@10", SPREAD, WORST]
        assert paired["left_out"] == {}
        ratio = paired["pairs"][0]["ratio"]
        assert ratio["low"] <= ratio["value"] <= ratio["high"]
        widths.append(ratio["high"] - ratio["low"])
    assert widths[0] < widths[1] < widths[2]


def test_of_an_older_run_the_rest_is_compared_and_it_says_what_is_not(tmp_path: Path) -> None:
    one, two = (make_set_run(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    (two / SETS).unlink()
    content = compare_runs([one, two])
    assert content["paired"]["objectives"] == ["ndcg@10"]
    assert set(content["paired"]["left_out"]) == {SPREAD, WORST}
    said = lines(content)
    for name in (SPREAD, WORST):
        (line,) = (one for one in said if one.startswith(f"no intervals over users for {name}: "))
        assert f"{two} has no per_user/sets.parquet, as it was searched before" in line
    assert any(line.startswith("paired over users, hypervolume of ndcg@10 alone") for line in said)


def test_what_sets_are_resampled_from_must_be_of_the_same_users(tmp_path: Path) -> None:
    one = make_set_run(tmp_path / "one", seed=1)
    other = make_set_run(tmp_path / "other", seed=2, users=USERS - 1)
    left_out = compare_runs([one, other])["paired"]["left_out"]
    assert left_out == dict.fromkeys((SPREAD, WORST), f"{other} was measured on other users")


def test_an_objective_of_a_plugin_that_is_not_loaded_is_left_out(tmp_path: Path) -> None:
    runs = [make_set_run(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    for run in runs:
        renamed(run, SPREAD, "shelf@10")
    assert "--plugin" in compare_runs(runs)["paired"]["left_out"]["shelf@10"]


def test_a_cost_stays_as_it_was_measured(tmp_path: Path) -> None:
    runs = [make_set_run(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    for run in runs:
        renamed(run, SPREAD, "flops")
    paired = compare_runs(runs)["paired"]
    assert paired["objectives"] == ["ndcg@10", "flops", WORST]
    assert paired["left_out"] == {}


def test_damaged_values_per_user_are_reported(runs: list[Path], tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", seed=5)
    (other / "per_user" / "front.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadRequestError, match=r"front\.parquet is damaged .* remove it to compare"):
        compare_runs([runs[0], other])


def test_groups_are_compared_over_their_seeds() -> None:
    """Welch's test by hand: means 2 and 5, variances 1 and 1, three runs each."""
    (row,) = between_groups({"A": [1.0, 2.0, 3.0], "B": [4.0, 5.0, 6.0], "C": [9.0]})
    deviation = np.sqrt(1 / 3 + 1 / 3)
    assert row["difference"] == -3.0
    assert row["low"] == pytest.approx(-3.0 - 2.776 * deviation, abs=1e-3)  # t with 4 degrees
    assert row["p"] == pytest.approx(0.0213, abs=1e-4)
    assert between_groups({"A": [1.0, 1.0], "B": [1.0, 1.0]})[0]["p"] == 1.0


def test_the_command_writes_tables_and_a_figure(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "compared"
    said = subprocess.run(
        [
            sys.executable,
            "-m",
            "pareto_rec",
            "compare",
            *map(str, runs),
            "--out",
            str(out),
            "--json",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(tmp_path),
        check=False,
    )
    assert said.returncode == 0, said.stderr
    content = json.loads(said.stdout)
    assert {Path(path).name for path in content["files"]} == {
        *("compare.json", "compare.csv", "attainment.csv", "compare.png"),
    }
    assert all(Path(path).stat().st_size > 0 for path in content["files"])
    surfaces = pd.read_csv(out / "attainment.csv")
    assert set(surfaces["attained_by"]) == {"any", "half", "all"}
    assert len(surfaces.groupby(["group", "x_objective", "y_objective"])) == 6
    assert "group  seed" in "\n".join(lines(content))
