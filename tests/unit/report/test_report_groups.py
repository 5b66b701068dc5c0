"""People of whom little is known, as a group of their own: by hand, on the page, and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_run import NAMES, write_run
from typer.testing import CliRunner

from pareto_rec.cli.main import app
from pareto_rec.core.errors import BadRequestError
from pareto_rec.execution.per_user import table_of
from pareto_rec.report import build_report
from pareto_rec.report.groups import groups, sentences
from pareto_rec.runs.reader import read_run

USERS = ["a", "b", "c", "d", "e"]
GROUPS = ["short", "none", "short", "long", "long"]
ROWS = [3, 0, 5, 40, 90]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose best point by accuracy gives its users 0, 1, 2, 3, 4 (e: nothing)."""
    path = write_run(tmp_path / "run", fits=12, sweep=4, rows=20)
    view = read_run(path)
    best = view.front.loc[view.front["ndcg@10"].idxmax(), "id"]
    values = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    other = view.front.loc[view.front["selected"] & (view.front["id"] != best), "id"].iloc[0]
    moved = {best: values, other: values + 10}
    found = [(one, {NAMES[0]: moved.get(one, values)}) for one in view.front["id"]]
    (path / "per_user").mkdir(exist_ok=True)
    (path / "per_user/front.parquet").write_bytes(table_of(found, USERS))
    frame = pd.DataFrame({"user": USERS, "history": ROWS, "history_length": GROUPS})
    frame.to_parquet(path / "per_user/users.parquet")
    info = json.loads((path / "run.json").read_text())
    info["cold_start"] = {"users": 1, "items": 7, "notes": []}
    (path / "run.json").write_text(json.dumps(info))
    return path


def test_groups_by_hand(run: Path) -> None:
    found = groups(read_run(run))
    assert found is not None
    assert [axis.name for axis in found.axes] == [NAMES[0]]
    assert [one.name for one in found.groups] == ["none", "short", "long"]
    none, short, long = found.groups
    assert (none.users, none.rows, none.values[NAMES[0]]) == (1, (0, 0), (1.0, 1.0, 11.0))
    assert (short.users, short.rows, short.values[NAMES[0]]) == (2, (3, 5), (1.0, 1.0, 11.0))
    assert (long.users, long.rows, long.values[NAMES[0]]) == (2, (40, 90), (3.0, 3.0, 13.0))
    assert sentences(found)[1:] == [
        "short: 3\N{EN DASH}5 rows (2 users): ndcg@10 1 [1, 11]",
        "long: 40\N{EN DASH}90 rows (2 users): ndcg@10 3 [3, 13]",
        "7 items are cold: they have no training row; report cold_ndcg to measure accuracy "
        "among them.",
    ]


def test_the_page_and_the_command_show_them(run: Path) -> None:
    page = build_report(read_run(run))
    assert '<table id="groups"' in page
    assert "short: 3\N{EN DASH}5 rows (2 users)" in page
    assert "7 items are cold" in page
    said = CliRunner().invoke(app, ["report", str(run), "--json"])
    assert said.exit_code == 0, said.output
    rows = json.loads(said.stdout)["groups"]
    assert [row["history"] for row in rows] == ["none", "short", "long"]
    assert rows[2]["values"] == {NAMES[0]: [3.0, 3.0, 13.0]}


def test_a_run_without_values_per_user_has_no_such_section(run: Path) -> None:
    (run / "per_user/users.parquet").unlink()
    assert groups(read_run(run)) is None
    assert 'id="groups"' not in build_report(read_run(run))


def test_a_damaged_file_is_one_line(run: Path) -> None:
    (run / "per_user/users.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(BadRequestError, match=r"users\.parquet is damaged .*run the search again$"):
        groups(read_run(run))
