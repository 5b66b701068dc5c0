"""How ids of a history are written on the command line, those that hold commas among them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tiny_bundle import tiny_parts

from pareto_rec.bundle import Bundle, write_bundle
from pareto_rec.cli.main import main
from pareto_rec.cli.recommend import ids_of
from pareto_rec.core.errors import BadRequestError


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (["50,181"], ["50", "181"]),
        (["50,,181,"], ["50", "181"]),
        ([""], []),
        (["a,b", "c"], ["a,b", "c"]),
        (["[x", "y]"], ["[x", "y]"]),
        (['["a,b"]'], ["a,b"]),
        ([' ["a,b", "c", 7]'], ["a,b", "c", "7"]),
        (["[]"], []),
    ],
)
def test_ids_of_a_history(given: list[str], ids: list[str]) -> None:
    assert ids_of(given) == ids


@pytest.mark.parametrize("text", ["[a,b]", '["a"', "[null]", "[true]", "[1.5]", "[" * 100_000])
def test_damaged_json_is_one_line(text: str) -> None:
    with pytest.raises(BadRequestError, match=r"\A[^\n]{1,300}\Z"):
        ids_of([text])


def test_the_command_finds_ids_with_commas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = tiny_parts(tmp_path)
    ids = ("a,b", *parts.items.ids[1:])
    write_bundle(
        tmp_path / "bundle",
        dataclasses.replace(parts, items=dataclasses.replace(parts.items, ids=ids)),
    )
    expected = Bundle.load(tmp_path / "bundle").recommend(history=["a,b", "i5"], k=5).to_json()
    assert expected["notes"] == []
    for given in (["--history", "a,b", "--history", "i5"], ["--history", '["a,b", "i5"]']):
        with pytest.raises(SystemExit) as ended:
            main(["recommend", str(tmp_path / "bundle"), *given, "-k", "5", "--json"])
        assert ended.value.code == 0
        assert json.loads(capsys.readouterr().out) == expected
