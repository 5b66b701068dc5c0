"""The figures show what the run holds. Expected numbers come from the synthetic run's own files,
from moocore, or from hand-made tables."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from synthetic_run import EXPERTS, NAMES, OPPONENTS, write_confirm, write_run

from pareto_rec.report.plots.confirmed import covered
from pareto_rec.report.plots.figures import plot_convergence, plot_front, save_plots, style
from pareto_rec.runs.convergence import convergence
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.view import Axis, RunView


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return read_run(write_run(tmp_path_factory.mktemp("run"), fits=24, sweep=8, rows=62))


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.texts)


def legend_labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def dots(axes, colour):
    """Points of the scatter of that colour."""
    found = [c for c in axes.collections if c.get_facecolor().shape[0] == 1]
    rgb = to_rgba(colour)[:3]
    return next(
        np.asarray(c.get_offsets())
        for c in found
        if np.allclose(c.get_facecolor()[0][:3], rgb) and len(c.get_offsets())
    )


def test_every_pair_of_objectives_has_a_panel(view: RunView) -> None:
    figure = plot_front(view)
    shown = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    labels = [axis.label for axis in view.axes]
    assert labels == ["NDCG@10", "ILD@10", "Tail NDCG@10"]
    assert len(shown) == 3
    for (x, y), (first, second) in zip(shown, itertools.combinations(labels, 2), strict=True):
        assert x == f"{first}   better →"
        assert y == f"{second}   better →"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("tail_ndcg@10", "Tail NDCG@10"),
        ("ndcg@10[liked]", "NDCG@10[liked]"),
        ("worst(ndcg@10 by age_group)", "Worst(NDCG@10 by age group)"),
        ("coverage@10", "Coverage@10"),
    ],
)
def test_labels_are_spelled_as_people_write_them(name: str, label: str) -> None:
    assert Axis(name, maximise=True, unit="1").label == label


def test_label_of_a_minimised_objective_points_back_and_names_the_unit() -> None:
    axis = Axis("training_seconds", maximise=False, unit="s", reference=9.0)
    assert style.arrow(axis) == "← better   Training seconds [s]"


def test_front_and_selected_points_are_drawn_where_they_are(view: RunView) -> None:
    figure = plot_front(view)
    for axes, (x, y) in zip(figure.axes, itertools.combinations(NAMES, 2), strict=True):
        np.testing.assert_allclose(dots(axes, style.FRONT), view.front[[x, y]].to_numpy())
        chosen = view.front[view.front["selected"]]
        assert 0 < len(chosen) <= 20
        np.testing.assert_allclose(dots(axes, style.CHOSEN), chosen[[x, y]].to_numpy())
    labels = legend_labels(figure)
    assert f"front ({len(view.front)} points)" in labels
    assert f"selected ({view.front['selected'].sum()} of them)" in labels


def test_every_expert_is_drawn_with_its_feasible_envelope(view: RunView) -> None:
    figure = plot_front(view)
    assert len(view.experts) == len(EXPERTS)
    for expert in EXPERTS:
        label = f"{expert} ({1000 * view.hypervolumes.experts[expert]:.2f})"
        assert label in legend_labels(figure)
    for axes, pair in zip(figure.axes, itertools.combinations(NAMES, 2), strict=True):
        lines = {line.get_label(): line.get_xydata() for line in axes.lines}
        for expert in EXPERTS:
            rows = view.baselines[view.baselines["expert"] == expert]
            rows = rows[rows["ndcg@10"] >= 0.10][list(pair)].to_numpy()
            best = [p for p in rows if not any((q >= p).all() and (q > p).any() for q in rows)]
            np.testing.assert_allclose(
                lines[expert], np.array(sorted(map(tuple, best))).reshape(-1, 2)
            )


def test_opponents_are_drawn_once_the_run_is_confirmed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", fits=12, sweep=5, rows=31)
    before = " ".join(legend_labels(plot_front(read_run(run))))
    assert not any(name in before for name in OPPONENTS)
    content = json.loads(write_confirm(run).read_text())
    figure = plot_front(read_run(run))
    for name in OPPONENTS:
        assert f"{name} (1.70)" in legend_labels(figure)
        values = [one["values"] for one in content["points"] if one["front"] == name]
        for axes, pair in zip(figure.axes, itertools.combinations(NAMES, 2), strict=True):
            (drawn,) = [c for c in axes.collections if c.get_label() == name]
            expected = [[one[axis]["search"] for axis in pair] for one in values]
            np.testing.assert_allclose(np.asarray(drawn.get_offsets()), expected)
    words = texts(figure).replace("\n", " ")
    assert "on test 1.40 [1.10, 1.70] times baselines alone" in words
    assert "not at equal numbers" not in words


def test_text_says_data_leak_and_gain(view: RunView) -> None:
    words = texts(plot_front(view)).replace("\n", " ")
    info = view.info["hypervolume"]
    assert view.title in words
    assert f"front {1000 * info['front']:.2f}" in words
    assert f"all baselines together {1000 * info['all_baselines']:.2f}" in words
    assert f"ratio {info['front'] / info['all_baselines']:.2f}" in words
    assert "validation data; the test data was not opened" in words
    assert "36% of the training interactions are later" in words


def test_worthless_region_is_shaded_up_to_reference_and_bound(view: RunView) -> None:
    axes = plot_front(view).axes[0]
    dashed = [line.get_xdata() for line in axes.lines if line.get_linestyle() == "--"]
    assert [x[0] for x in dashed if x[0] == x[1]] == [0.10]
    assert len(axes.patches) >= 1


def test_worthless_corners_do_not_stretch_the_axes(view: RunView) -> None:
    corner = view.baselines.iloc[[0]].assign(
        **{"ndcg@10": 0.0, "ild@10": 40.0, "tail_ndcg@10": 9.0}
    )
    wider = dataclasses.replace(view, baselines=pd.concat([view.baselines, corner]))
    for place in range(3):
        assert style.limits(wider, wider.axes[place]) == style.limits(view, view.axes[place])
        low, high = style.limits(view, view.axes[place])
        values = view.values(view.front)[:, place]
        assert low < values.min() < values.max() < high


@pytest.mark.parametrize(
    ("maximise", "expected"),
    [  # drawn by hand
        ([True, True], [(1, 3), (1, 2), (2, 2), (2, 1), (3, 1)]),
        ([False, False], [(1, 1)]),
    ],
)
def test_stairs(maximise: list[bool], expected: list[tuple[int, int]]) -> None:
    values = np.array([[2.0, 2.0], [1.0, 1.0], [3.0, 1.0], [1.0, 3.0]])
    before = values.copy()
    assert list(zip(*style.stairs(values, maximise), strict=True)) == expected
    np.testing.assert_array_equal(values, before)


def test_stairs_where_less_x_is_better() -> None:
    x, y = style.stairs(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 0.0]]), [False, True])
    assert list(zip(x, y, strict=True)) == [(1, 1), (2, 1), (2, 2)]


def test_convergence_counts_and_ends_at_the_front(view: RunView) -> None:
    curve = convergence(view, checkpoints=20)
    assert curve.records[0] == 1
    assert curve.records[-1] == len(view.records)
    assert curve.fits[-1] == view.records["fit"].nunique() == 24
    assert curve.boundary.sum() == view.records["generation"].nunique() == 2
    assert (np.diff(curve.hypervolume) >= 0).all()
    assert curve.hypervolume[-1] == pytest.approx(view.info["hypervolume"]["front"], rel=1e-9)
    assert curve.seconds[-1] == pytest.approx(view.records["elapsed_s"].max())


def test_convergence_follows_generation_and_position_not_file_order(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", fits=14, sweep=4, rows=9)
    straight = convergence(read_run(run))
    lines = (run / "records.jsonl").read_text().splitlines()
    (run / "records.jsonl").write_text("\n".join(reversed(lines)) + "\n")
    turned = convergence(read_run(run))
    np.testing.assert_array_equal(turned.hypervolume, straight.hypervolume)
    np.testing.assert_array_equal(turned.seconds, straight.seconds)


def test_infeasible_and_failed_records_count_for_nothing(view: RunView) -> None:
    great = dict.fromkeys(NAMES, 0.99)
    bad = view.records.iloc[[0]].assign(status="failed", **great)
    infeasible = view.records.iloc[[0]].assign(**{**great, "ndcg@10": 0.12})
    # The bound is tighter than the reference, else such a record would be worth nothing anyway.
    axes = (dataclasses.replace(view.axes[0], at_least=0.15), *view.axes[1:])
    strict = dataclasses.replace(view, axes=axes)
    more = dataclasses.replace(strict, records=pd.concat([bad, infeasible, view.records]))
    assert convergence(more).hypervolume[-1] == convergence(strict).hypervolume[-1]


def test_convergence_figure_has_both_clocks_and_the_baselines(view: RunView) -> None:
    figure = plot_convergence(view)
    left, right = figure.axes
    assert left.get_xlabel() == "Records evaluated"
    assert right.get_xlabel() == "Seconds since the run began"
    best = max(view.info["hypervolume"]["baselines"].values())
    for axes in (left, right):
        levels = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        assert levels
        assert levels[0] == pytest.approx(1000 * best)
    assert any("ease-recent" in label for label in legend_labels(figure))


def test_convergence_without_times_says_so(view: RunView) -> None:
    untimed = dataclasses.replace(view, records=view.records.assign(elapsed_s=np.nan))
    right = plot_convergence(untimed).axes[1]
    assert "no times recorded" in [text.get_text() for text in right.texts]


def test_files_are_written_whole_and_reproducibly(view: RunView, tmp_path: Path) -> None:
    frames = [frame.copy() for frame in (view.records, view.front, view.baselines)]
    paths = save_plots(view, tmp_path)
    assert [path.name for path in paths] == ["front.png", "front.svg", "convergence.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert paths[0].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    ElementTree.parse(paths[1])
    assert paths[1].stat().st_size < 1_500_000
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in save_plots(view, tmp_path)] == first
    for frame, before in zip((view.records, view.front, view.baselines), frames, strict=True):
        pd.testing.assert_frame_equal(frame, before)


def test_a_failing_write_leaves_the_old_picture(
    view: RunView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "front.png").write_bytes(b"old")

    def fail(_: Figure, target: Path, **__: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_plots(view, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["front.png"]
    assert (tmp_path / "front.png").read_bytes() == b"old"


def test_two_objectives_one_minimised_and_no_baselines(tmp_path: Path) -> None:
    run = write_run(tmp_path, fits=6, sweep=4, rows=4)
    info = json.loads((run / "run.json").read_text())
    seconds = {"name": "training_seconds", "maximise": False, "unit": "s", "reference": 20.0}
    info |= {"objectives": [info["objectives"][0], seconds], "hypervolume": {}}
    (run / "run.json").write_text(json.dumps(info))
    (run / "baselines.csv").write_text("expert,id,on_front,ndcg@10,training_seconds\n")
    view = read_run(run)
    figure = plot_front(view)
    assert len(figure.axes) == 1
    assert figure.axes[0].get_ylabel() == "← better   Training seconds [s]"
    assert len(save_plots(view, run)) == 3


def test_figures_say_whether_test_data_has_been_opened(tmp_path: Path) -> None:
    run = write_run(tmp_path, fits=6, sweep=4, rows=4)
    view = read_run(run)
    for figure in (plot_front(view), plot_convergence(view)):
        assert "the test data was not opened" in " ".join(texts(figure).split())
    write_confirm(run, openings=2)
    view = read_run(run)
    for figure in (plot_front(view), plot_convergence(view)):
        said = " ".join(texts(figure).split())
        assert "The test data was opened 2 times, first on 2026-01-30" in said
        assert "not opened" not in said


@pytest.mark.parametrize(
    ("covers", "said"),
    [
        (("users and seeds", "users and seeds"), "users and seeds"),
        (("users", "seeds"), "users; of worst over seeds"),
        ((None, "seeds"), "nothing; of worst over seeds"),
    ],
)
def test_bars_say_what_they_cover(covers: tuple[str | None, str], said: str) -> None:
    own = [
        {"name": name, "searched": True, "interval_over": over}
        for name, over in zip(("ndcg", "worst"), covers, strict=True)
    ]
    reported = {"name": "recall", "searched": False, "interval_over": "seeds"}
    assert covered({"objectives": [*own, reported]}) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, ""),
        (0.0, "0% of the training interactions are later than the median test interaction."),
        (
            0.36,
            "36% of the training interactions are later than the median test interaction: models "
            "see some of the future of other people.",
        ),
    ],
)
def test_what_the_split_leaks_is_said_of_the_split_at_hand(share: float | None, said: str) -> None:
    assert style.leak(SimpleNamespace(late_train_share=share)) == said


def test_long_names_of_objectives_take_several_lines() -> None:
    """A label longer than its panel would run into the next one."""
    axis = SimpleNamespace(label_with_unit="worst(grouped_auc[accepted] by income)", maximise=True)
    lines = style.arrow(axis).splitlines()  # type: ignore[arg-type] # as much of an axis as it reads
    assert len(lines) == 2
    assert " ".join(lines) == f"{axis.label_with_unit}   better →"


@pytest.mark.parametrize("width", [6.4, 12.0])
def test_the_verdict_stays_within_the_figure(width: float) -> None:
    figure = Figure(figsize=(width, 4.0))
    line = "hypervolume x 1000: front 1.16e+11, all baselines together 1.03e+11 "
    style.heading(figure, "films", f"{line}(ratio 1.13, not at equal numbers of settings)")
    figure.draw_without_rendering()
    right = max(text.get_window_extent().x1 for text in figure.texts)
    assert right <= width * figure.dpi


def test_opponents_are_told_apart() -> None:
    """With impressions there are four, and five with all of them together."""
    looks = [style.opponent(number) for number in range(5)]
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 5
