"""The page in a real browser, opened from disk: it works, stays silent and asks no network."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import NAMES, write_confirm, write_lists, write_run
from warm_commands import run_warm

from pareto_rec.report import write_report
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.view import RunView

CHROMIUM = shutil.which("chromium")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunView, Path]:
    folder = tmp_path_factory.mktemp("run") / "the run's"  # a path that a shell must not split
    write_run(folder, fits=12, sweep=8, rows=31)
    write_lists(folder)
    write_confirm(folder)
    view = read_run(folder)
    return view, write_report(view, folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, run: tuple[RunView, Path]) -> Iterator[Any]:
    """A fresh page that must end without errors and without requests but for itself."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    trouble: list[str] = []
    asked: list[str] = []
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(run[1].as_uri())
    page.wait_for_selector("#scatter .legend")
    yield page
    page.close()
    assert trouble == []
    outside = [url for url in asked if not url.startswith(("data:", "blob:"))]
    assert outside == [run[1].as_uri()]


def column(page: Any, name: str) -> list[str]:
    place = page.evaluate(
        "name => [...document.querySelectorAll('#front thead th')]"
        ".findIndex(cell => cell.dataset.column === name)",
        name,
    )
    return page.locator(f"#front tbody td:nth-child({place + 1})").all_inner_texts()


def head(page: Any, name: str) -> Any:
    return page.locator(f'#front thead th[data-column="{name}"]')


def drawn(page: Any, name: str) -> list[list[float]]:
    """x and y of the scatter's series."""
    return page.evaluate(
        "name => { const found = document.getElementById('scatter').data"
        ".find(one => one.name === name); return [found.x, found.y]; }",
        name,
    )


def test_sorting_with_the_keyboard(page: Any, run: tuple[RunView, Path]) -> None:
    values = sorted((f"{value:.4f}" for value in run[0].front["ild@10"]), reverse=True)
    head(page, "ild@10").locator("button").focus()
    page.keyboard.press("Enter")
    assert column(page, "ild@10") == values
    assert head(page, "ild@10").get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")  # the focus stays on the column
    assert column(page, "ild@10") == values[::-1]
    assert head(page, "ild@10").get_attribute("aria-sort") == "ascending"
    assert page.locator("#front thead th[aria-sort]").count() == 1
    assert page.locator("#front thead button[tabindex='0']").count() == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert head(page, "tail_ndcg@10").get_attribute("aria-sort") == "descending"


def test_axes_change_the_scatter_and_what_is_behind_the_front_can_be_hidden(
    page: Any, run: tuple[RunView, Path]
) -> None:
    others = run[0].front[~run[0].front["selected"]]
    assert drawn(page, "front")[0] == pytest.approx(others["ndcg@10"].tolist(), rel=1e-6)
    page.select_option("#axis-x", "tail_ndcg@10")
    page.select_option("#axis-y", "training_seconds")
    assert drawn(page, "front")[0] == pytest.approx(others["tail_ndcg@10"].tolist(), rel=1e-6)
    assert drawn(page, "front")[1] == pytest.approx(others["training_seconds"].tolist(), rel=1e-6)
    assert page.locator("#scatter .xtitle").text_content().startswith("Tail NDCG@10")
    assert page.locator("#scatter .ytitle").text_content().startswith("← better")
    page.select_option("#axis-colour", "train.model")
    page.wait_for_selector("#scatter .colorbar")
    names = "() => document.getElementById('scatter').data.map(one => one.name)"
    assert sum(name.split(" (")[0] in run[0].experts for name in page.evaluate(names)) == 6
    page.uncheck("#show-baselines")
    page.uncheck("#show-records")
    page.select_option("#intervals", "")
    assert page.evaluate(names) == ["front", "selected points of the front", "selected by you"]


def test_row_shows_details_neighbours_and_a_ring_in_the_scatter(
    page: Any, run: tuple[RunView, Path]
) -> None:
    best = run[0].front.sort_values("ndcg@10").iloc[-1]
    page.locator("#front tbody button").first.press("Enter")
    text = page.locator("#details").inner_text()
    assert f"Point {best['id']}" in text
    assert f"{best['ndcg@10']:.4f} (1 of {len(run[0].front)})" in " ".join(text.split())
    neighbours = page.locator("#neighbours").inner_text()
    assert "learning_rate" in neighbours
    assert "penalty" in neighbours
    assert drawn(page, "selected by you")[0] == pytest.approx([best["ndcg@10"]], rel=1e-6)
    assert page.locator("#parallel path.current").count() == 1
    assert page.locator("#front tbody tr[aria-current=true]").count() == 1
    front = run[0].front
    page.locator("#front tbody button").nth(5).click()
    chosen = front[front["id"] == column(page, "id")[5]].iloc[0]
    spans = {name: front[name].max() - front[name].min() for name in NAMES}
    away = [
        math.hypot(*((row[name] - chosen[name]) / spans[name] for name in NAMES))
        for row in front.to_dict("records")
    ]
    nearest = list(front.assign(away=away).sort_values("away", kind="stable")["id"])[1:5]
    assert page.locator("#neighbours thead button").all_inner_texts() == nearest
    rate = page.locator("#neighbours tr", has_text="learning_rate").locator("td").all_inner_texts()
    assert float(rate[0]) == pytest.approx(chosen["train.learning_rate"], rel=1e-2)
    page.locator("#neighbours thead button").nth(1).click()
    assert f"Point {nearest[1]}" in page.locator("#details").inner_text()


def test_point_of_the_scatter_marks_its_row(page: Any, run: tuple[RunView, Path]) -> None:
    best = run[0].front.sort_values("ndcg@10").iloc[-1]
    page.uncheck("#show-baselines")
    page.uncheck("#show-records")
    page.select_option("#intervals", "")
    page.locator("#details").scroll_into_view_if_needed()
    spot = page.evaluate(
        "point => { const plot = document.getElementById('scatter'), full = plot._fullLayout;"
        "const box = plot.getBoundingClientRect();"
        "return [box.left + full.xaxis._offset + full.xaxis.l2p(point[0]),"
        " box.top + full.yaxis._offset + full.yaxis.l2p(point[1])]; }",
        [best["ndcg@10"], best["ild@10"]],
    )
    page.mouse.move(*spot)
    page.wait_for_selector("#scatter .hoverlayer .hovertext")
    page.mouse.click(*spot)
    current = page.locator("#front tbody tr[aria-current=true]")
    current.wait_for()
    assert best["id"] in current.inner_text()


def test_dragging_along_an_axis_filters_the_table(page: Any, run: tuple[RunView, Path]) -> None:
    grip = page.locator('#parallel .grip[data-axis="ndcg@10"]')
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    x, middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(x, middle)
    page.mouse.up()
    values = run[0].front["ndcg@10"]
    kept = int((values >= (values.min() + values.max()) / 2).sum())
    shown = [float(text) for text in column(page, "ndcg@10")]
    assert abs(len(shown) - kept) <= 1  # a pixel more or less
    assert min(shown) > values.quantile(0.05)
    assert page.locator("#count").inner_text() == f"{len(shown)} of {len(values)} points"
    assert page.locator("#parallel path.out").count() == len(values) - len(shown)
    page.locator("#chips button").click()
    assert len(column(page, "ndcg@10")) == len(values)


def test_filters_by_keyboard_and_download(page: Any, run: tuple[RunView, Path]) -> None:
    front = run[0].front
    page.select_option("#bound-column", "ild@10")
    page.fill("#bound-low", "0.8")
    page.locator("#bound-low").press("Enter")
    kept = front[front["ild@10"] >= 0.8]
    assert len(column(page, "ild@10")) == len(kept)
    page.check("#only-selected")
    kept = kept[kept["selected"]]
    assert len(column(page, "ild@10")) == len(kept) > 0
    with page.expect_download() as waiting:
        page.click("#download")
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert waiting.value.suggested_filename == "front.csv"
    assert {row["id"] for row in rows} == set(kept["id"])
    assert {row["selected"] for row in rows} == {"1"}
    page.fill("#find", kept["id"].iloc[0])
    assert column(page, "id") == [kept["id"].iloc[0]]
    page.fill("#find", "no such point")
    assert page.locator("#count").inner_text() == f"0 of {len(front)} points"


def test_an_axis_is_brushed_by_keys(page: Any, run: tuple[RunView, Path]) -> None:
    front = run[0].front
    grip = page.locator('#parallel .grip[data-axis="ild@10"]')
    grip.focus()
    for _ in range(8):  # the worse end goes up by 40 % of the axis
        page.keyboard.press("ArrowUp")
    low, high = front["ild@10"].min(), front["ild@10"].max()
    kept = front[front["ild@10"] >= low + 0.4 * (high - low) - 1e-9]
    assert 0 < len(kept) < len(front)
    assert len(column(page, "id")) == len(kept)
    focused = "document.activeElement.dataset.axis"
    assert page.evaluate(focused) == "ild@10"
    page.keyboard.press("Shift+ArrowDown")
    kept = kept[kept["ild@10"] <= low + 0.95 * (high - low) + 1e-9]
    assert set(column(page, "id")) == set(kept["id"])
    assert page.locator("#said").text_content() == (
        f"ILD@10: {len(kept)} of {len(front)} points pass"
    )
    page.keyboard.press("Escape")
    assert len(column(page, "id")) == len(front)
    assert page.evaluate(focused) == "ild@10"


def test_arrows_walk_through_scatter_and_table(page: Any, run: tuple[RunView, Path]) -> None:
    front = run[0].front
    by_accuracy = list(front.sort_values("ndcg@10", kind="stable")["id"])
    page.locator("#scatter").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert f"Point {by_accuracy[1]}" in page.locator("#details").inner_text()
    assert page.locator("#said").text_content().startswith(f"Point {by_accuracy[1]}: NDCG@10")
    page.keyboard.press("ArrowLeft")
    assert f"Point {by_accuracy[0]}" in page.locator("#details").inner_text()
    page.keyboard.press("Escape")
    assert "No point chosen" in page.locator("#details").inner_text()
    stops = page.locator("#front tbody button[tabindex='0']")
    assert stops.count() == 1  # the whole table is one stop of the tab key
    stops.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert f"Point {column(page, 'id')[2]}" in page.locator("#details").inner_text()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert f"Point {column(page, 'id')[-1]}" in page.locator("#details").inner_text()


def test_the_tab_key_goes_from_top_to_bottom_and_shows_where_it_is(page: Any) -> None:
    page.evaluate("choose(0)")
    seen: list[str] = []
    for _ in range(120):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "() => { const one = document.activeElement; if (one === document.body) return null;"
            "const { outlineStyle, outlineWidth } = getComputedStyle(one);"
            "return [one.id || one.dataset.axis || one.textContent,"
            " outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2]; }"
        )
        if found is None or found[0] in seen[:1]:
            break
        assert found[1], found[0]
        seen.append(found[0])
    assert seen[0] == "To the table of points"
    order = ["theme", "axis-x", "scatter", "copy", "neighbours", "ndcg@10", "find", "download"]
    order += ["person", "list-point-a", "clock"]
    assert [name for name in seen if name in order] == order


def test_the_copied_command_picks_the_point(page: Any, run: tuple[RunView, Path]) -> None:
    view, path = run
    page.locator("#front tbody button").nth(3).click()
    page.locator("#copy").focus()
    page.keyboard.press("Enter")
    page.locator("#copy", has_text="Copied").wait_for()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command == page.locator("#command").inner_text()
    words = shlex.split(command)
    assert words[:3] == ["pareto-rec", "pick", str(path.parent)]
    assert words[3:] == ["--point", column(page, "id")[3]]
    done = run_warm(words[1:], os.environ, timeout=120)
    assert done.returncode == 0, done.stderr
    (pick,) = json.loads((path.parent / "picks.json").read_text())["picks"]
    assert pick["point"] == words[-1] in set(view.front["id"])


def test_error_bars_are_those_of_confirm(page: Any, run: tuple[RunView, Path]) -> None:
    chosen = run[0].front[run[0].front["selected"]].set_index("id")
    bars = (
        "() => { const one = document.getElementById('scatter').data"
        ".find(one => one.name === 'confirmed on test data');"
        "return [one.x, one.error_x.array, one.error_y.arrayminus, one.text]; }"
    )
    x, right, below, said = page.evaluate(bars)
    ids = [text.split()[1].rstrip(",") for text in said]
    assert set(ids) == set(chosen.index)
    seen = chosen.loc[ids]
    assert x == pytest.approx((0.9 * seen["ndcg@10"]).tolist(), rel=1e-5)
    assert right == pytest.approx((0.01 * seen["ndcg@10"]).tolist(), rel=1e-3)
    assert below == pytest.approx((0.01 * seen["ild@10"]).tolist(), rel=1e-3)
    (low, _) = page.evaluate("document.getElementById('scatter').layout.yaxis.range")
    assert low < 0.89 * seen["ild@10"].min()  # nothing that is shown lies outside
    page.select_option("#intervals", "validation")
    names = page.evaluate("document.getElementById('scatter').data.map(one => one.name)")
    assert "confirmed on validation data" in names
    page.select_option("#intervals", "")
    names = page.evaluate("document.getElementById('scatter').data.map(one => one.name)")
    assert not any("confirmed" in name for name in names)
    page.fill("#find", chosen.index[0])
    page.locator("#front tbody button").first.click()
    details = " ".join(page.locator("#details").inner_text().split())
    tested = 0.9 * chosen["ndcg@10"].iloc[0]
    assert f"on test data NDCG@10 {tested:.4f} [" in details
    assert "0.75 among the search's own points, 0.50 among all fronts' points" in details


def test_lists_of_two_points_stand_side_by_side(page: Any, run: tuple[RunView, Path]) -> None:
    front, lists = run[0].front, run[0].lists
    assert lists is not None
    a, b = (page.locator(f"#list-point-{side}").input_value() for side in "ab")
    assert a == front.loc[front["ndcg@10"].idxmax(), "id"]
    assert b == front.loc[front["ild@10"].idxmax(), "id"]
    page.select_option("#person", "1")
    for side, point in (("a", a), ("b", b)):
        rows = lists["lists"][point][1]
        shown = page.locator(f"#list-{side} .item").all_inner_texts()
        assert shown == [lists["items"][one]["title"] for one in rows]
        hits = len(set(rows) & set(lists["users"][1]["held_out"]))
        assert page.locator(f"#list-{side} .hit").count() == hits
        assert f"{hits} of 10 are hits" in page.locator(f"#list-{side}").inner_text()
    only = len(set(lists["lists"][a][1]) - set(lists["lists"][b][1]))
    assert page.locator("#list-a li.only").count() == only
    assert page.locator("#take-b").is_disabled()
    page.locator("#front tbody button").nth(2).click()
    page.click("#take-b")
    assert page.locator("#list-point-b").input_value() == column(page, "id")[2]


def test_convergence_against_a_clock_of_choice(page: Any, run: tuple[RunView, Path]) -> None:
    curve = (
        "() => { const one = document.getElementById('convergence').data[0];"
        "return [one.x, one.y]; }"
    )
    view = run[0]
    for clock, last in (
        ("fits", view.records["fit"].nunique()),
        ("records", len(view.records)),
        ("seconds", view.records["elapsed_s"].max()),
    ):
        page.select_option("#clock", clock)
        x, y = page.evaluate(curve)
        assert x[-1] == pytest.approx(last)
        assert y[-1] == pytest.approx(1000 * view.info["hypervolume"]["front"], rel=1e-6)
        assert y == sorted(y)


def contrasts(page: Any) -> dict[tuple[str, str], float]:
    """Contrast of WCAG 2.1, 1.4.3, of the colours of texts on the grounds that they stand on."""
    inks, grounds = ("ink", "soft", "front", "expert-0"), ("paper", "panel")
    colours = page.evaluate("names => names.map(colourOf)", [*inks, *grounds])

    def brightness(text: str) -> float:
        parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    named = dict(zip((*inks, *grounds), map(brightness, colours), strict=True))
    found = {}
    for ink in inks:
        for ground in grounds:
            low, high = sorted((named[ink], named[ground]))
            found[ink, ground] = (high + 0.05) / (low + 0.05)
    return found


def test_colours_follow_the_system_and_the_reader(page: Any) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    inks = "['scatter', 'convergence'].map(name => document.getElementById(name).layout.font.color)"
    dark = ("rgb(20, 23, 28)", ["#e8eaee"] * 2)
    light = ("rgb(255, 255, 255)", ["#1d2129"] * 2)

    def colours() -> tuple[str, list[str]]:
        assert min(contrasts(page).values()) >= 4.5
        return page.evaluate(paper), page.evaluate(inks)

    page.emulate_media(color_scheme="dark")
    assert colours() == dark
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.locator("#theme").inner_text() == "Colours: light"
    assert colours() == light
    page.emulate_media(color_scheme="light")
    page.keyboard.press("Enter")
    assert colours() == dark
    page.keyboard.press("Enter")
    assert colours() == light


def test_controls_have_names_send_nothing_and_fit_a_narrow_page(page: Any) -> None:
    unnamed = page.evaluate(
        "() => [...document.querySelectorAll('button, input, select')].filter(one =>"
        " !(one.innerText || '').trim() && !one.labels?.length && !one.getAttribute('aria-label'))"
        ".map(one => one.outerHTML)"
    )
    assert unnamed == []
    buttons = page.evaluate(
        "[...document.querySelectorAll('.modebar-btn')].map(one => one.dataset.title)"
    )
    assert any("PNG" in title for title in buttons)
    assert not [title for title in buttons if "hare" in title or "loud" in title]
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_hostile_ids_run_nothing(browser: Any, tmp_path: Path) -> None:
    folder = write_run(tmp_path, fits=3, sweep=4, rows=4, change={"experiment": "</title><h6>"})
    first = (folder / "front.csv").read_text().splitlines()[1].split(",")[0]
    evil = "<img src=x onerror=document.title=0>"
    for name in ("front.csv", "records.jsonl"):
        path = folder / name
        path.write_text(path.read_text().replace(first, evil))
    page = browser.new_page()
    page.goto(write_report(read_run(folder), folder).as_uri())
    page.wait_for_selector("#scatter .legend")
    page.locator("#front tbody button").first.click()
    assert f"Point {evil}" in page.locator("#details").inner_text()
    assert page.title().startswith("</title><h6>")
    assert page.locator("img, h6").count() == 0
    assert shlex.split(page.locator("#command").inner_text())[-1] == evil
    page.close()


def test_a_run_without_later_files_has_no_empty_sections(browser: Any, tmp_path: Path) -> None:
    folder = write_run(tmp_path, fits=3, sweep=4, rows=4)
    page = browser.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(write_report(read_run(folder), folder).as_uri())
    page.wait_for_selector("#convergence .legend")
    assert page.locator("#lists-section").is_hidden()
    assert page.locator("#intervals").is_hidden()
    assert page.locator("#confirmed").count() == 0
    page.close()
    assert trouble == []


HEBREW = "סרט מספר"  # runs from right to left, and so would the number after it


def test_titles_from_right_to_left_stay_in_their_places(browser: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "run", fits=6, sweep=4, rows=12)
    path = write_lists(tmp_path / "run")
    lists = json.loads(path.read_text(encoding="utf-8"))
    for name, item in lists["items"].items():
        item["title"] = f"{HEBREW} {name}"
    path.write_text(json.dumps(lists), encoding="utf-8")
    view = read_run(tmp_path / "run")
    page = browser.new_page(viewport={"width": 3000, "height": 1000})
    page.goto(write_report(view, tmp_path / "run").as_uri())
    page.wait_for_selector("#list-a .item")
    user = lists["users"][0]
    titles = [f"{HEBREW} {name}" for name in user["held_out"][:3]]
    lefts = page.evaluate(
        """titles => {
          const text = document.querySelector("#person-facts p:nth-child(2)").firstChild;
          return titles.map((title) => {
            const range = document.createRange(), start = text.data.indexOf(title);
            range.setStart(text, start);
            range.setEnd(text, start + title.length);
            return range.getBoundingClientRect().left;
          });
        }""",
        titles,
    )
    assert lefts == sorted(lefts), "the titles of a line stand in the line's order"
    assert page.locator("#list-a .item").first.inner_text().startswith(HEBREW)
    assert page.locator("h1 bdi").count() == 1
    beside = page.evaluate(
        "() => { const item = document.querySelector('#list-a .item');"
        "return [item.getBoundingClientRect().right,"
        " item.parentElement.querySelector('.facts').getBoundingClientRect().left,"
        " getComputedStyle(item).unicodeBidi]; }"
    )
    assert beside[2] == "isolate"
    page.close()
