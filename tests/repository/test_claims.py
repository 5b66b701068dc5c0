"""What is claimed, held against what was measured, and openings of test data against the ledger."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.claims import evidence_rows
from benchmarks.figures import Figure, figures_of, is_stated
from pareto_rec.runs.earlier_openings import earlier_openings
from pareto_rec.runs.openings import COMMITTED, Opening, read_openings

REPOSITORY = Path(__file__).parents[2]
EVIDENCE = (REPOSITORY / "results" / "evidence.md").read_text()
EXPERIMENTS = sorted(path.parent.name for path in REPOSITORY.glob("experiments/*/config.toml"))

BY_HAND = "by hand"
# Figures in README's tables that no row of evidence states: the file of an experiment that does,
# and how it says it (a pattern); or what was measured by hand, and how.
ELSEWHERE = {
    "10,000": ("movielens_accuracy_diversity_fairness/config.toml", r"settings = 10000\n"),
    "2.9": (BY_HAND, "make front on an idle machine, largest memory of all its processes in GB"),
    "2.5": ("retail_value_diversity/README.md", r"had 5\.54 on the same test data"),
}


def openings() -> tuple[Opening, ...]:
    return read_openings([REPOSITORY / COMMITTED])


def own_openings(experiment: str) -> list[Opening]:
    return [one for one in openings() if one.experiment == experiment]


def test_every_row_of_evidence_was_measured() -> None:
    table, _, _ = EVIDENCE.partition("\n## ")  # what follows is computed from those rows
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert [row.line for row in evidence_rows(EVIDENCE).values()] == rows
    assert "not run" not in EVIDENCE


def test_figures_of_the_readme_are_those_of_the_evidence() -> None:
    rows = evidence_rows(EVIDENCE)
    figures = list(figures_of((REPOSITORY / "README.md").read_text()))
    assert len(figures) > len(ELSEWHERE)
    lost = {one.text: one.row for one in figures if not is_stated(one, rows)}
    wrong = {text: row for text, row in lost.items() if text not in ELSEWHERE}
    assert not wrong, "correct README.md, or measure again with make evidence"
    assert set(lost) == set(ELSEWHERE), "ELSEWHERE names figures that evidence states, or none"


@pytest.mark.parametrize(
    ("file", "pattern"), [one for one in ELSEWHERE.values() if one[0] != BY_HAND]
)
def test_figures_from_elsewhere_stand_there(file: str, pattern: str) -> None:
    assert re.search(pattern, (REPOSITORY / "experiments" / file).read_text())


def test_hardly_a_figure_is_measured_by_hand() -> None:
    assert sum(file == BY_HAND for file, _ in ELSEWHERE.values()) <= 1


@pytest.mark.parametrize(("text", "is_known"), [("1.23", True), ("1.2", True), ("1.24", False)])
def test_a_figure_that_evidence_does_not_round_to_is_found(text: str, is_known: bool) -> None:
    rows = evidence_rows("| films: a front. | `make front` | ratio 1.234 (0123456789ab) |")
    assert is_stated(Figure("films", text, ""), rows) is is_known
    assert not is_stated(Figure("songs", text, ""), rows)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_openings_of_reference_results_are_in_the_committed_ledger(experiment: str) -> None:
    path = REPOSITORY / "results" / "reference" / experiment / "confirm.json"
    if not path.is_file():
        pytest.skip("it has not been confirmed")
    content = json.loads(path.read_text())
    known = {one.at for one in own_openings(experiment)}
    lost = [entry["at"] for entry in content["opened"] if entry["at"] not in known]
    assert not lost, "python -m benchmarks.evidence --openings copies them"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_readmes_say_how_often_test_data_was_opened_and_what_is_void(experiment: str) -> None:
    own = own_openings(experiment)
    if not own:
        pytest.skip("its test data has not been opened")
    text = (REPOSITORY / "experiments" / experiment / "README.md").read_text()
    last, every = own[-1], openings()
    times = sum(one.test == last.test for one in every)
    said = re.search(r"Test data has been opened (\d+) times?", text)
    assert said is not None
    assert int(said[1]) == times
    assert ("confirmation is void" in text) == bool(earlier_openings(last, every).void)


def test_what_was_written_down_later_names_its_source() -> None:
    """A commit, since entries of before there was a ledger are known from git alone."""
    for one in openings():
        if one.run is None:
            assert re.search(r"commit [0-9a-f]{7}", one.source or ""), one.at
