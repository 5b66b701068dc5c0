"""The page as text: nothing leaves it, nothing breaks out of it, and it says what the run says."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kruskal, spearmanr
from synthetic_run import NAMES, OPPONENTS, write_confirm, write_lists, write_run

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.wording import thousand_fold
from pareto_rec.report import build_report, write_report
from pareto_rec.report.answer import answer, caveat, choices, failures, given
from pareto_rec.report.drives import drives
from pareto_rec.report.payload import main_variables, payload, script_json
from pareto_rec.report.plots import style
from pareto_rec.runs.confirmation import Confirmed
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.view import RunView

HOSTILE = "</script><b onclick='x'>&amp; {{css}} \u2028"


class Page(HTMLParser):
    """Collects the elements, attributes and texts that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        place = len(self.elements) - 1
        self.texts[place] = self.texts.get(place, "") + data

    def text_of(self, identity: str) -> str:
        for place, (_, attributes) in enumerate(self.elements):
            if attributes.get("id") == identity:
                return self.texts[place]
        raise AssertionError(f"no element {identity}")


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return read_run(write_run(tmp_path_factory.mktemp("run"), fits=21, sweep=6, rows=31))


@pytest.fixture(scope="module")
def page(view: RunView) -> Page:
    return Page(build_report(view))


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    policy = [a["content"] for tag, a in page.elements if tag == "meta" and "content" in a]
    assert any(content and "default-src 'none'" in content for content in policy)
    styles = [page.texts[i] for i, (tag, _) in enumerate(page.elements) if tag == "style"]
    assert len(styles) == 1
    assert not re.search(r"@import|url\(", styles[0])


def test_no_place_is_left_to_fill(page: Page) -> None:
    shown = [text for i, text in page.texts.items() if page.elements[i][0] != "script"]
    assert not any("{{" in text for text in shown)


def test_data_round_trips(view: RunView, page: Page) -> None:
    sent = json.loads(page.text_of("run-data"))
    assert sent == payload(view)
    assert sent["run"] == str(view.path)
    table = pd.DataFrame(sent["front"]["rows"], columns=sent["front"]["columns"])
    assert list(table["id"]) == list(view.front["id"])
    assert list(table["selected"]) == list(view.front["selected"])
    pd.testing.assert_frame_equal(
        table[view.names], view.front[view.names], check_exact=False, rtol=1e-6
    )
    usable = (view.records["status"] == "ok").sum()
    assert len(sent["front"]["rows"]) + len(sent["records"]["rows"]) == usable
    assert len(sent["baselines"]["rows"]) == len(view.baselines)


def test_a_long_seed_arrives_exactly(tmp_path: Path) -> None:
    run = write_run(tmp_path, fits=2, sweep=3, rows=3)
    long = 2**64 - 1  # a number in a script holds 53 bits
    records = run / "records.jsonl"
    records.write_text(records.read_text().replace('"seed": 7', f'"seed": {long}'))
    front = run / "front.csv"
    header, *rows = front.read_text().splitlines()
    assert header.startswith("id,fit,seed,")
    rows = [",".join([*row.split(",")[:2], str(long), *row.split(",")[3:]]) for row in rows]
    front.write_text("\n".join([header, *rows]))
    table = payload(read_run(run))["front"]
    assert {row[table["columns"].index("seed")] for row in table["rows"]} == {str(long)}


def test_an_inactive_variable_is_null(view: RunView) -> None:
    front = payload(view)["front"]
    place = front["columns"].index("train.layers")
    model = front["columns"].index("train.model")
    expected = {"sequence": 2, "attention": None}
    assert {row[model]: row[place] for row in front["rows"]} == expected


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = write_run(
        tmp_path, fits=4, sweep=4, rows=4, change={"experiment": HOSTILE, "question": HOSTILE}
    )
    first = (run / "front.csv").read_text().splitlines()[1].split(",")[0]
    evil = "</script><b>"
    for name in ("front.csv", "records.jsonl"):
        path = run / name
        path.write_text(path.read_text().replace(first, evil).replace("fit000", "<!--fit"))
    view = read_run(run)
    page = Page(build_report(view))
    sent = json.loads(page.text_of("run-data"))
    assert sent["title"] == HOSTILE
    assert sent["front"]["rows"][0][0] == evil
    assert "b" not in {tag for tag, _ in page.elements}
    assert [tag for tag, _ in page.elements].count("script") == 3
    heading = next(i for i, (tag, _) in enumerate(page.elements) if tag == "bdi")
    assert page.texts[heading].strip() == HOSTILE.strip()


def test_script_json_is_safe_and_exact() -> None:
    value = {"a": ["</script>", "<!--", "&", "\u2028\u2029", "é", 0.1, None, True]}
    text = script_json(value)
    assert not re.search(r"[<>&\u2028\u2029]", text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


def test_answer_comes_first_with_the_runs_numbers(view: RunView, page: Page) -> None:
    text = page.text_of("answer")
    info = view.info["hypervolume"]
    assert f"{len(view.front)} points" in text
    assert f"1000 of {1000 * info['front']:.2f}" in text
    assert f"{info['front'] / info['all_baselines']:.2f} times" in text
    assert f"best NDCG@10 is {view.front['ndcg@10'].max():.4f}" in text
    feasible = view.baselines[view.baselines["ndcg@10"] >= 0.10]
    best = feasible.loc[feasible["ndcg@10"].idxmax()]
    assert f"{best['expert']}, has {best['ndcg@10']:.4f}" in text


def test_a_baseline_that_wins_is_named_in_the_first_paragraph(view: RunView) -> None:
    rows = view.baselines.copy()
    behind = dataclasses.replace(view, baselines=rows.assign(**{"ndcg@10": 0.1001, "ild@10": 0.66}))
    assert "No baseline wins anywhere" in " ".join(answer(behind))
    great = {"ndcg@10": 0.9, "ild@10": 0.66, "tail_ndcg@10": 0.0}
    one = behind.baselines.iloc[[0]].assign(expert="upstart", **great)
    wins = dataclasses.replace(view, baselines=pd.concat([behind.baselines, one]))
    assert "no point of the front dominates 1 of" in " ".join(answer(wins))
    assert "(upstart 1)" in " ".join(answer(wins))


def test_an_infeasible_baseline_does_not_win(view: RunView) -> None:
    useless = {"ndcg@10": 0.0999, "ild@10": 1.0, "tail_ndcg@10": 1.0}
    rows = view.baselines.assign(**useless)
    text = " ".join(answer(dataclasses.replace(view, baselines=rows)))
    assert f"None of the {len(rows)} baseline settings is feasible" in text


def test_a_baseline_equal_to_a_front_point_does_not_win(view: RunView) -> None:
    same = view.front[view.names].assign(expert="copy", id="x", on_front=True)
    text = " ".join(answer(dataclasses.replace(view, baselines=same)))
    assert "No baseline wins anywhere" in text


def test_caveat_names_validation_luck_and_leak(view: RunView) -> None:
    text = caveat(view)
    assert "validation data" in text
    assert "test data, which was not opened" in text
    assert "36% of the training interactions" in text


def test_failures_are_counted(view: RunView, page: Page) -> None:
    failed = int((view.records["status"] == "failed").sum())
    assert failed == 1
    assert failures(view) == [("failed: loss is not finite", 1)]
    assert any("1 of" in text and "not usable" in text for text in page.texts.values())


def test_main_variables_are_those_that_go_with_an_objective(view: RunView) -> None:
    count = len(view.front)
    front = view.front.assign(
        **{
            "train.same": view.front["ndcg@10"] ** 3,  # same ranks: strength 1
            "train.fixed": 1.0,
            "train.word": ["low" if i < count / 2 else "high" for i in range(count)],
        }
    )
    chosen = main_variables(
        dataclasses.replace(view, front=front), ["train.same", "train.fixed", "train.word"]
    )
    assert chosen == ["train.same", "train.word"]


def test_page_is_written_whole(view: RunView, tmp_path: Path) -> None:
    path = write_report(view, tmp_path)
    assert path == tmp_path / "report.html"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == build_report(view)


def test_without_plotly_one_line_says_what_to_install(
    view: RunView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(BadRequestError, match=r'pip install "pareto_rec\[report\]"'):
        write_report(view, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_the_points_of_the_front_chose_is_counted(tmp_path: Path) -> None:
    view = read_run(write_run(tmp_path / "run"))
    (row,) = [row for row in choices(view) if row[0] == "train.combine"]
    counts = dict(part.rsplit(" ", 1) for part in row[1].split(", "))
    assert counts == {
        name: str(count) for name, count in view.front["train.combine"].value_counts().items()
    }
    assert sum(map(int, counts.values())) == len(view.front)
    assert row[1] in build_report(view)


def test_controls_are_told_where_they_were_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert 'id="controls"' not in build_report(read_run(run))
    says = "With <b> & nothing, the hypervolume x 1000 is 1."
    (run / "controls.json").write_text(json.dumps({"controls": [{"says": says}]}))
    assert "<li>With &lt;b&gt; &amp; nothing, the" in build_report(read_run(run))
    (run / "controls.json").write_text("{")
    with pytest.raises(BadRequestError, match=r"controls\.json, line 1: not valid JSON"):
        read_run(run)


def test_drives_agree_with_scipy(view: RunView) -> None:
    found = {one.name: one for one in drives(view)}
    rows = view.records[view.records["status"] == "ok"]
    for place, name in enumerate(NAMES):  # a serving variable over records
        expected = spearmanr(rows["serve.mmr"], rows[name]).statistic
        assert found["serve.mmr"].strengths[place] == pytest.approx(expected)
    assert found["serve.mmr"].cases == len(rows)
    ranked = rows.assign(rank=rows["ndcg@10"].rank()).groupby("fit")
    fits = pd.DataFrame(
        {
            "rank": ranked["rank"].mean(),
            "rate": ranked["train.learning_rate"].first(),
            "model": ranked["train.model"].first(),
        }
    )
    rate, model = found["train.learning_rate"], found["train.model"]
    assert rate.cases == model.cases == len(fits)
    assert rate.strengths[0] == pytest.approx(spearmanr(fits["rate"], fits["rank"]).statistic)
    groups = [group["rank"] for _, group in fits.groupby("model")]
    test = kruskal(*groups)  # H = (cases - 1) eta^2
    assert model.strengths[0] == pytest.approx((test.statistic / (len(fits) - 1)) ** 0.5)
    assert (model.strengths[0] > model.chance) == (test.pvalue < 0.05)
    assert not model.ordered
    assert rate.ordered


def test_the_strongest_drive_comes_first_and_what_does_not_vary_is_left_out(view: RunView) -> None:
    records = view.records.assign(
        **{"serve.made": -view.records["ild@10"], "serve.same": 3.0, "train.layers": 2.0}
    )
    found = drives(dataclasses.replace(view, records=records))
    assert found[0].name == "serve.made"
    assert found[0].strengths[NAMES.index("ild@10")] == pytest.approx(-1.0)
    assert not {"serve.same", "train.layers", "serve.depth"} & {one.name for one in found}
    page = build_report(dataclasses.replace(view, records=records))
    assert "serve.<wbr>made" in page
    assert "\N{MINUS SIGN}1.00" in page


def test_a_variable_counts_where_it_is_active(view: RunView) -> None:
    layers = view.records["generation"].where(view.records["train.layers"].notna())
    records = view.records.assign(**{"train.layers": layers})
    (one,) = [
        one for one in drives(dataclasses.replace(view, records=records)) if "layers" in one.name
    ]
    active = records[(records["status"] == "ok") & records["train.layers"].notna()]
    assert one.cases == active["fit"].nunique() < records["fit"].nunique()


@pytest.fixture
def confirmed(tmp_path: Path) -> Path:
    run = write_run(tmp_path / "run", fits=8, sweep=5, rows=31)
    write_confirm(run, baseline_share=0.5)
    return run


def test_confirmed_results_stand_in_the_first_paragraph(confirmed: Path) -> None:
    view = read_run(confirmed)
    page = Page(build_report(view))
    text = page.text_of("answer")
    assert text.index("hypervolume") < text.index("keeps 1.40 [1.10, 1.70] times")
    assert "On test data no opponent wins anywhere" in text
    assert "dominated by <another>" not in text
    assert "None of its points is dominated by <another>." in page.texts.values()
    assert "was opened once, on 2026-01-31" in caveat(view)
    assert "was not opened" not in caveat(view)
    shown = " ".join(page.texts.values())
    assert "2.10 [1.80, 2.40]" in shown  # hypervolume on test
    assert "57% [17%, 97%]" in shown
    sent = json.loads(page.text_of("run-data"))["confirmed"]
    assert sent["stages"] == ["validation", "test"]
    chosen = view.front[view.front["selected"]]
    assert set(sent["points"]) == set(chosen["id"])
    first = chosen.iloc[0]
    seen = first["ndcg@10"]
    assert sent["points"][first["id"]]["test"]["ndcg@10"] == pytest.approx(
        [0.9 * seen, 0.89 * seen, 0.91 * seen], rel=1e-6
    )
    assert {row["front"] for row in sent["opponents"]} == set(OPPONENTS)


def test_an_opponent_that_wins_on_test_data_is_named_at_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", fits=8, sweep=5, rows=31)
    path = write_confirm(run, baseline_share=3.0)
    text = " ".join(answer(read_run(run)))
    assert "Opponents win in places on test data" in text
    assert "(baselines alone 1, " in text
    infeasible = json.loads(path.read_text())
    for point in infeasible["points"]:
        point["feasible"] = point["front"] == "search"
    path.write_text(json.dumps(infeasible))
    assert "No feasible point of an opponent" in " ".join(answer(read_run(run)))


def test_the_odds_name_the_settings_of_a_serving_search(tmp_path: Path) -> None:
    view = read_run(write_run(tmp_path / "run", fits=4, sweep=5, rows=9))
    before = given(view)
    usable = int((view.records["status"] == "ok").sum())
    assert f"had 9 serving settings each (penalty, re-ranking), the search {usable} rec" in before
    assert "confirm gives opponents the same serving search and as many settings" in before
    records = view.records.assign(origin="serving")
    after = given(dataclasses.replace(view, records=records))
    assert f"{usable} records, {usable} of them settings of all fits and baselines;" in after


def test_opening_test_data_twice_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", fits=4, sweep=5, rows=9)
    path = write_confirm(run, openings=3)
    assert "was opened 3 times, first on 2026-01-29" in caveat(read_run(run))
    begun = {"status": "begun", "opened": [{"at": "2026-02-01T08:00:00+00:00"}]}
    path.write_text(json.dumps(begun))
    view = read_run(run)
    assert "opened once, on 2026-02-01; confirm did not come to its end" in caveat(view)
    assert payload(view)["confirmed"] is None
    assert 'id="confirmed"' not in build_report(view)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("confirm.json", "{"),
        ("confirm.json", "[]"),
        ("confirm.json", '{"status": "finished", "opened": [{"at": "2026"}]}'),
        ("lists.json", '{"users": [], "items": {}}'),
        (
            "lists.json",
            '{"users": [{"id": "1", "history": 3, "last": ["7"], "held_out": []}], '
            '"items": {}, "lists": {}}',
        ),
    ],
)
def test_a_damaged_file_of_a_later_command_is_one_line(
    tmp_path: Path, name: str, content: str
) -> None:
    run = write_run(tmp_path / "run", fits=3, sweep=3, rows=4)
    (run / name).write_text(content)
    with pytest.raises(BadRequestError, match=name) as raised:
        read_run(run)
    assert "\n" not in str(raised.value)


def test_lists_are_sent_where_the_run_has_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", fits=3, sweep=3, rows=4)
    assert payload(read_run(run))["lists"] is None
    path = write_lists(run)
    page = Page(build_report(read_run(run)))
    assert json.loads(page.text_of("run-data"))["lists"] == json.loads(path.read_text())


def test_a_real_runs_size_stays_below_six_megabytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", fits=144, sweep=24)
    write_lists(run, users=6)
    view = read_run(run)
    assert len(view.records) > 3_200
    assert write_report(view, run).stat().st_size < 6_000_000


def test_openings_by_other_runs_and_what_voids_stand_beside_the_own_ones() -> None:
    own = Confirmed(("2026-01-31T08:00:00+00:00",), finished=True, before=8, void="Void: why.")
    assert style.opened(own) == (
        "The test data was opened once, on 2026-01-31. All runs together had opened it 8 times "
        "before. Void: why."
    )
    again = dataclasses.replace(own, opened=own.opened * 2, before=1, void="")
    assert "All runs" not in style.opened(again)  # the one before was its own


def test_a_hypervolume_is_said_as_a_share_of_its_box_too(tmp_path: Path) -> None:
    view = read_run(write_run(tmp_path / "run", fits=8, sweep=5, rows=31))
    usable = view.baselines[view.feasible(view.baselines)]
    rows = np.concatenate([view.values(view.front), view.values(usable)])
    best = np.where(view.maximise, rows.max(axis=0), rows.min(axis=0))
    box = np.abs(best - np.array(view.reference)).prod()
    assert view.share_of_box == pytest.approx(view.hypervolumes.front / box)
    assert f"({view.share_of_box:.0%} of the box" in Page(build_report(view)).text_of("answer")


def test_a_large_hypervolume_has_four_digits() -> None:
    assert thousand_fold(96_010_871.80459745) == "9.601e+10"
    assert thousand_fold(0.0045974) == "4.597"
