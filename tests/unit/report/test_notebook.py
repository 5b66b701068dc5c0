"""A run in a notebook. Expected values come from the synthetic run's own files."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from synthetic_run import NAMES, OPPONENTS, write_confirm, write_run

from pareto_rec import BadRequestError, Run

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(
        tmp_path_factory.mktemp("run"), fits=12, sweep=6, rows=31, change={"experiment": "a <b>"}
    )


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return Run.load(str(folder))


def test_frames_hold_what_the_files_hold(run: Run, folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert set(run.records["id"]) == {line["id"] for line in lines}
    assert len(run.records) == len(lines)
    by_id = {line["id"]: line for line in lines}
    for row in run.front.to_dict("records"):
        assert row["ndcg@10"] == by_id[row["id"]]["objectives"]["ndcg@10"]
        assert row["train.learning_rate"] == by_id[row["id"]]["train"]["learning_rate"]
    assert len(run.front) == len((folder / "front.csv").read_text().splitlines()) - 1
    assert len(run.baselines) == len((folder / "baselines.csv").read_text().splitlines()) - 1
    assert run.info == json.loads((folder / "run.json").read_text())


def test_shown_as_rich_text_with_the_answer_first(run: Run) -> None:
    class Texts(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []
            self.texts: list[str] = []

        def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)

        def handle_data(self, data: str) -> None:
            self.texts.append(data)

    shown = Texts()
    shown.feed(run._repr_html_())
    assert shown.texts[0] == "a <b> (finished)"  # as text, not as an element
    assert "b" not in shown.tags
    assert shown.texts[1].startswith(f"The front has {len(run.front)} points")
    chosen = run.front[run.front["selected"]]
    assert shown.tags.count("tr") == len(chosen) + 1
    assert set(chosen["id"]) <= set(shown.texts)


def test_repr_is_one_line(run: Run) -> None:
    volume = 1000 * run.info["hypervolume"]["front"]
    assert repr(run) == (
        f"<Run a <b> (finished): {len(run.records):,} records, {len(run.front)} points on the "
        f"front, hypervolume x 1000: {volume:.3f}>"
    )


def test_plots_are_figures_of_what_was_asked_for(run: Run) -> None:
    every, grown = run.plot(), run.plot("convergence")
    assert isinstance(every, Figure)
    assert len(every.axes) == 3
    assert grown.axes[0].get_xlabel() == "Records evaluated"
    (panel,) = run.plot(x="coverage@10", y="training_seconds").axes  # reported, one minimised
    assert panel.get_xlabel() == "Coverage@10   better →"
    assert panel.get_ylabel() == "← better   Training seconds [s]"
    front = run.front[["coverage@10", "training_seconds"]].to_numpy()
    drawn = [entry.get_offsets() for entry in panel.collections]
    assert any(len(one) == len(front) and (one == front).all() for one in drawn)
    low, high = panel.get_xlim()
    assert low < front[:, 0].min() < front[:, 0].max() < high


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kind": "fronts"}, 'unknown kind of plot "fronts" .*did you mean "front"'),
        ({"x": "ndcg@10"}, "both x and y"),
        ({"x": "ndcg@10", "y": "ild"}, 'unknown objective of this run "ild"'),
        ({"kind": "convergence", "x": "ndcg@10", "y": "ild@10"}, "leave them out"),
    ],
)
def test_a_wrong_request_is_one_line(run: Run, arguments: dict[str, str], says: str) -> None:
    with pytest.raises(BadRequestError, match=says) as raised:
        run.plot(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_confirmed_points_are_a_frame(folder: Path, run: Run) -> None:
    assert run.confirmed is None
    path = write_confirm(folder)
    try:
        found = Run.load(folder).confirmed
    finally:
        path.unlink()
    assert found is not None
    chosen = run.front[run.front["selected"]].set_index("id")
    own = found[found["front"] == "search"].set_index("id")
    assert set(own.index) == set(chosen.index)
    for name in NAMES:  # as `write_confirm` makes them
        assert own[f"test.{name}"].to_dict() == pytest.approx((0.9 * chosen[name]).to_dict())
        width = own[f"test.{name}.high"] - own[f"test.{name}.low"]
        assert width.to_dict() == pytest.approx((0.02 * chosen[name]).to_dict())
    assert set(found["front"]) == {"search", *OPPONENTS}


def test_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="is not a run directory"):
        Run.load(tmp_path)


def test_the_name_costs_nothing_until_it_is_used() -> None:
    code = "import sys, pareto_rec; assert not {'pandas', 'matplotlib', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
