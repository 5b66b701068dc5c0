"""Picks that cannot be made: one line, exit code 2, and the history stays as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_run import write_run

from pareto_rec.analysis.picks import remember
from pareto_rec.cli.main import main
from pareto_rec.core.errors import RunFailedError

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", fits=8, sweep=8, rows=4)


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "run"))


@pytest.fixture
def refused(run: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a pick that must be refused and returns its one line."""

    def call(*arguments: str, code: int = 2) -> str:
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        with pytest.raises(SystemExit) as caught:
            main(["pick", str(run), *arguments])
        text = capsys.readouterr()
        assert (caught.value.code, text.out) == (code, "")
        assert text.err.count("\n") == 1
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
        return text.err

    return call


REQUESTS = [
    (
        [],
        "say how to pick, in one way (--best, --weights, --knee, --utopia, --per-user or --point)",
    ),
    (["--knee", "--best", "ild@10"], "found --best and --knee"),
    (["--where", "ild@10>=0.5"], "found none"),
    (["--mixture"], "found none"),
    (["--mixture", "--knee"], "--mixture takes --best OBJECTIVE"),
    (["--method", "asf", "--knee"], "--method belongs to --weights"),
    (["--weights", "ild@10=1", "--method", "asv"], 'unknown method "asv" (did you mean "asf"?)'),
    (["--weights", "ild@10"], 'weights "ild@10" cannot be read at "ild@10"'),
    (["--weights", "ild@10=a"], "cannot be read at"),
    (["--weights", "ild@10=1,ild@10=2"], "name ild@10 twice"),
    (["--weights", "ild@1=1"], 'unknown objective "ild@1" (did you mean "ild@10"?)'),
    (["--weights", "coverage@10=1"], "was measured and not searched"),
    (["--best", "ndcg@1"], 'unknown objective "ndcg@1" (did you mean "ndcg@10"?)'),
    (["--knee", "--where", "ndcg10>=1"], 'unknown objective "ndcg10" (did you mean "ndcg@10"?)'),
    (["--knee", "--where", "ndcg@10=1"], 'where "ndcg@10=1" cannot be read'),
    (["--knee", "--where", "ndcg@10>=0.9"], "no point has ndcg@10 >= 0.9; the highest is 0."),
    (["--point", "nothing"], 'no point "nothing" is on the front'),
    (["--per-user"], "front.parquet is missing, so nothing is known per user"),
    (["--mixture", "--best", "ild@10", "--where", "ndcg@10>=0.9"], "no mixture has ndcg@10 >= 0.9"),
]


@pytest.mark.parametrize(("arguments", "said"), REQUESTS)
def test_wrong_requests(arguments: list[str], said: str, refused: Refused) -> None:
    assert said in refused(*arguments)


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["pick", str(tmp_path / "none"), "--knee"])
    assert caught.value.code == 2
    assert "is not a run directory" in capsys.readouterr().err


def test_empty_front(run: Path, refused: Refused) -> None:
    head = (run / "front.csv").read_text().splitlines()[0]
    (run / "front.csv").write_text(head + "\n")
    assert f"the front of {run} is empty, so there is no point to pick" in refused("--knee")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"picks": 3}', '{"picks": [3]}', '{"picks": [{"at": ""}]}']
)
def test_damaged_history(text: str, run: Path, refused: Refused) -> None:
    (run / "picks.json").write_text(text)
    assert f"{run / 'picks.json'} is damaged" in refused("--knee")


@pytest.mark.parametrize(
    "text", ["front\nsearch", "front,id\nsearch,x", "front,id,p_non_dominated,test.a\nsearch,x,y,z"]
)
def test_damaged_confirmation(text: str, run: Path, refused: Refused) -> None:
    (run / "confirm.csv").write_text(text)
    assert "run `pareto-rec confirm` again" in refused("--knee")


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"x" * 100])
def test_damaged_values_per_user(content: bytes, run: Path, refused: Refused) -> None:
    (run / "per_user").mkdir()
    (run / "per_user/front.parquet").write_bytes(content)
    assert "front.parquet is damaged" in refused("--per-user")


def test_values_per_user_of_another_run(run: Path, refused: Refused) -> None:
    import numpy as np

    from pareto_rec.execution.per_user import table_of

    (run / "per_user").mkdir()
    table = table_of([("other", {"ndcg@10": np.ones(2)})], ["u", "v"])
    (run / "per_user/front.parquet").write_bytes(table)
    assert "front.parquet is damaged (it lacks point " in refused("--per-user")


def test_a_full_disk_leaves_the_history_as_it_was(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"at": "", "rule": "point", "where": [], "objectives": {}, "reason": "first"}
    remember(run, entry)
    before = (run / "picks.json").read_text()
    assert json.loads(before)["picks"] == [entry]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFailedError, match=r"picks.json cannot be written: No space left"):
        remember(run, {**entry, "reason": "second"})
    assert (run / "picks.json").read_text() == before
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []
