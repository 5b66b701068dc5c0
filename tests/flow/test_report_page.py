"""The page in a real browser, opened from disk: it works, stays silent and asks no network."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import write_run

from pareto_rec.report import write_report
from pareto_rec.runread import read_run
from pareto_rec.runview import RunView

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
    folder = write_run(tmp_path_factory.mktemp("run"), fits=12, sweep=8, rows=31)
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


def test_axes_change_the_scatter(page: Any, run: tuple[RunView, Path]) -> None:
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


def test_baselines_and_other_records_can_be_hidden(page: Any, run: tuple[RunView, Path]) -> None:
    names = "() => document.getElementById('scatter').data.map(one => one.name)"
    assert sum(name.split(" (")[0] in run[0].experts for name in page.evaluate(names)) == 6
    page.uncheck("#show-baselines")
    page.uncheck("#show-records")
    assert page.evaluate(names) == ["front", "selected points of the front", "selected by you"]


def test_row_shows_details_and_marks_the_scatter(page: Any, run: tuple[RunView, Path]) -> None:
    best = run[0].front.sort_values("ndcg@10").iloc[-1]
    page.locator("#front tbody button").first.press("Enter")
    text = page.locator("#details").inner_text()
    assert f"Point {best['id']}" in text
    assert f"{best['ndcg@10']:.4f} (1 of {len(run[0].front)})" in " ".join(text.split())
    assert "learning_rate" in text
    assert "penalty" in text
    assert drawn(page, "selected by you")[0] == pytest.approx([best["ndcg@10"]], rel=1e-6)
    assert page.locator("#parallel path.current").count() == 1
    assert page.locator("#front tbody tr[aria-current=true]").count() == 1


def test_point_of_the_scatter_marks_its_row(page: Any, run: tuple[RunView, Path]) -> None:
    best = run[0].front.sort_values("ndcg@10").iloc[-1]
    page.uncheck("#show-baselines")
    page.uncheck("#show-records")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_reader(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    assert dark == (scheme == "dark")
    ink = page.evaluate("document.getElementById('scatter').layout.font.color")
    assert ink == ("#e8eaee" if dark else "#1d2129")


def test_every_control_has_a_name_and_narrow_pages_do_not_overflow(page: Any) -> None:
    unnamed = page.evaluate(
        "() => [...document.querySelectorAll('button, input, select')].filter(one =>"
        " !(one.innerText || '').trim() && !one.labels?.length && !one.getAttribute('aria-label'))"
        ".map(one => one.outerHTML)"
    )
    assert unnamed == []
    page.set_viewport_size({"width": 420, "height": 800})
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
    page.close()
