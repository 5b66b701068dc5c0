"""The runner of `make evidence`: what it runs, what it keeps, and the table that it writes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest
from tiny_experiment import CONFIG

from pareto_rec.runs.openings import LEDGER_VARIABLE, Opening, append_opening, read_openings

OPENING = Opening(
    at="",
    command="confirm",
    experiment="films",
    test="t",
    data="d",
    sketch=(),
    split={},
    objectives={},
)
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runner, working in a folder of its own with one experiment and two quick steps."""
    from benchmarks import evidence as runner

    monkeypatch.setattr(runner.claims, "ROOT", tmp_path)
    monkeypatch.setattr(runner.claims, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runner.claims, "EXPERIMENTS", tmp_path / "experiments")
    (tmp_path / "experiments" / "tiny").mkdir(parents=True)
    (tmp_path / "experiments" / "tiny" / "config.toml").write_text(CONFIG)
    return runner


def quick(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *codes: str) -> None:
    steps = [
        module.claims.Step(
            f"step{place}",
            f"Claim {place}.",
            lambda _, code=code: [["-c", code]],
            module.claims.last_line,
            {"PLACE": str(place)},
        )
        for place, code in enumerate(codes)
    ]
    monkeypatch.setattr(module.claims, "steps", lambda: iter(steps))


COUNT = (
    "import os, pathlib; pathlib.Path('ran').open('a').write('x'); "
    "print('3 |', os.environ['PLACE'])"
)


def test_a_step_is_run_once_and_stands_in_the_table(
    evidence: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick(evidence, monkeypatch, COUNT, "print('never')")
    assert evidence.main(["--only", "step0"]) == 0
    assert evidence.main(["--only", "step0"]) == 0
    assert (tmp_path / "ran").read_text() == "x"  # the second time it was finished before
    table = (tmp_path / "results" / "evidence.md").read_text()
    row = next(line for line in table.splitlines() if "Claim 0." in line)
    assert "PLACE=0 python -c" in row
    assert "3 \\| 0 (" in row  # a bar inside a figure does not end the cell
    assert "Claim 1." not in table  # it was not measured


def test_rows_that_were_measured_elsewhere_stay(
    evidence: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick(evidence, monkeypatch, COUNT, "print('never')", "print('never')")
    (tmp_path / "results").mkdir()
    table = tmp_path / "results" / "evidence.md"
    kept = "| Claim 1. | `make it` | 5 \\| 6 (two) (0123456789ab) |"
    lost = "| No longer claimed. | `make it` | 5 (0123456789ab) |"
    table.write_text(f"# Evidence\n\n| claim | command | figure |\n|---|---|---|\n{kept}\n{lost}\n")
    assert evidence.main(["--only", "step0"]) == 0
    lines = table.read_text().splitlines()
    assert kept in lines
    assert lost not in lines
    assert len([line for line in lines if line.startswith("| Claim")]) == 2


def test_openings_of_known_data_are_copied_into_the_committed_ledger_once(
    evidence: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    monkeypatch.setenv(LEDGER_VARIABLE, str(own))
    committed = tmp_path / "results" / "reference" / "test_openings.jsonl"
    first = append_opening(committed, OPENING)
    again = append_opening(own, replace(OPENING, run="films/again"))
    confirmed = append_opening(own, replace(OPENING, data="of a run here"))
    append_opening(own, replace(OPENING, data="somebody's own"))
    run = tmp_path / "results" / "evidence" / "search-tiny" / "run"
    run.mkdir(parents=True)
    (run / "confirm.json").write_text(json.dumps({"opening": asdict(confirmed)}))
    assert evidence.main(["--openings"]) == 0
    assert evidence.main(["--openings"]) == 0
    assert read_openings([committed]) == (first, again, confirmed)


def test_a_step_that_fails_is_said_and_the_others_go_on(
    evidence: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick(evidence, monkeypatch, "print('no such data'); raise SystemExit(2)", COUNT)
    assert evidence.main([]) == 1
    table = (tmp_path / "results" / "evidence.md").read_text()
    assert "failed with code 2: no such data" in table
    assert "3 \\| 1 (" in table
    assert evidence.main([]) == 1  # what failed is tried again, what finished is not
    assert (tmp_path / "ran").read_text() == "x"


def test_claims_over_experiments_are_corrected_together(
    evidence: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Holm by hand: .001 times 3, .02 times 2, .5; an older file lacks its p-value."""
    p_values = {"far": 0.001, "near": 0.02, "same": 0.5, "older": None, "flawed": 0.001}
    monkeypatch.setattr(evidence.claims, "FLAWED", {"that day": "It was measured wrongly"})
    for name, p in p_values.items():
        run = tmp_path / "results" / "evidence" / f"search-{name}" / "run"
        run.mkdir(parents=True)
        front = {"name": "rival", "kind": "fits", "p_holm": p, "ratio": {"test": {"value": 1.2}}}
        content = {"status": "finished", "best_baseline": "rival", "fronts": [front]}
        day = "that day" if name == "flawed" else "another day"
        content |= {"opening": {"at": day, "data": "d"}}
        (run / "confirm.json").write_text(json.dumps(content))
        if name in ("far", "same"):  # the one is of the reference results alone, the other anew
            reference = tmp_path / "results" / "reference" / name
            reference.mkdir(parents=True)
            (run / "confirm.json").rename(reference / "confirm.json")
        if name == "same":
            (run / "confirm.json").write_text(json.dumps(content))
            content["fronts"][0]["p_holm"] = 0.25
            (reference / "confirm.json").write_text(json.dumps(content))
    quick(evidence, monkeypatch, COUNT)
    assert evidence.main([]) == 0
    table = (tmp_path / "results" / "evidence.md").read_text()
    assert "corrected for 3 experiments (Holm 1979)" in table
    assert "| far | rival | 1.20 | 1 | 0.001 | 0.003 | yes |" in table
    assert "| near | rival | 1.20 | 1 | 0.02 | 0.04 | yes |" in table
    assert "| same | rival | 1.20 | 1 | 0.5 | 0.5 | no |" in table
    assert "| older |" not in table
    assert "| flawed |" not in table


def test_an_unknown_step_is_refused(
    evidence: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evidence.main(["--only", "search-nothing"]) == 2
    assert "no step search-nothing; known: " in capsys.readouterr().err


def test_every_experiment_is_searched_confirmed_and_controlled(evidence: ModuleType) -> None:
    names = [step.name for step in evidence.claims.steps()]
    assert names[:3] == ["search-tiny", "confirm-tiny", "controls-tiny"]
    assert {"kills", "intervals"} <= set(names)


def test_searches_go_on_and_test_data_is_not_opened_twice(
    evidence: ModuleType, tmp_path: Path
) -> None:
    search, confirm, controls = list(evidence.claims.steps())[:3]
    folder = evidence.claims.EVIDENCE / "search-tiny"
    (run,) = search.commands(folder)
    assert run[:4] == ["-m", "pareto_rec", "search", "experiments/tiny"]
    place = tmp_path / folder / "run"
    place.mkdir(parents=True)
    (place / "run.json").write_text(json.dumps({"status": "interrupted"}))
    assert search.commands(folder) == [
        ["-m", "pareto_rec", "search", str(folder / "run"), "--resume"]
    ]
    (place / "run.json").write_text(json.dumps({"status": "finished"}))
    assert search.commands(folder) == []
    assert confirm.commands(folder) == [
        ["-m", "pareto_rec", "confirm", str(folder / "run"), "--seeds", "3"]
    ]
    (place / "confirm.json").write_text(json.dumps({"status": "finished"}))
    assert confirm.commands(folder) == []
    commands = controls.commands(evidence.claims.EVIDENCE / "controls-tiny")
    assert [one[2] for one in commands] == ["search", "search", "search", "compare"]
    assert all("--controls" in one for one in commands[:3])


def test_the_controls_are_compared_over_their_seeds(evidence: ModuleType, tmp_path: Path) -> None:
    """By hand: 2.0, 2.1, 2.2 of the search over 1.0, 1.1, 1.2 of the control."""
    folder = Path("results") / "evidence" / "controls-tiny"
    for seed in evidence.claims.SEEDS:
        (tmp_path / folder / f"seed{seed}").mkdir(parents=True)
        content = {
            "search": {"hypervolume": 0.002 + 0.0001 * seed},
            "controls": [{"name": "random_search", "hypervolume": 0.001 + 0.0001 * seed}],
        }
        (tmp_path / folder / f"seed{seed}" / "controls.json").write_text(json.dumps(content))
    said = evidence.claims.controls_figure(folder)
    assert said.startswith("hypervolume x 1000 over 3 seeds: 2.100; search / control: ")
    assert "random_search x1.91 (p = 0.00026)" in said  # t = .001 / sqrt(2 x 1e-8 / 3), 4 degrees


def test_a_search_says_how_many_records_are_settings(evidence: ModuleType, tmp_path: Path) -> None:
    run = tmp_path / "search-tiny" / "run"
    run.mkdir(parents=True)
    info = {
        "hypervolume": {"front": 0.002, "all_baselines": 0.001},
        "counts": {"fits": 2, "records": 3, "failed": 0},
        "objectives": [{"name": "ndcg@10", "maximise": True}],
        "seconds": {"total": 12.3},
        "memory_mib": {"sum": 2048.0},
    }
    (run / "run.json").write_text(json.dumps(info))
    (run / "front.csv").write_text("id,ndcg@10\na,0.1\nb,0.25\n")
    origins = ("own", "serving", "serving")
    (run / "records.jsonl").write_text("".join(json.dumps({"origin": o}) + "\n" for o in origins))
    assert evidence.claims.front_figure(Path("search-tiny")) == (
        "hypervolume x 1000: front 2, all baselines 1, ratio 2.00; best ndcg@10 0.2500; 2 fits, "
        "3 records (2 of them settings of the serving search), 0 failed, 12 s, 2.0 GiB"
    )
