"""The commands themselves: help, how fast it comes, examples that are true, codes that are kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_experiment import DATA, pareto_rec, program

import pareto_rec.cli.report as commands
from pareto_rec.cli.main import main
from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.paths import CACHE_VARIABLE

COMMANDS = [
    [],
    ["data"],
    ["data", "list"],
    ["data", "fetch"],
    ["data", "inspect"],
    ["search"],
    ["report"],
    ["check"],
    ["pick"],
    ["update"],
    ["serve"],
]
HEAVY = {"torch", "transformers", "pandas", "matplotlib", "pymoo", "numpy", "scipy", "joblib"}
MODULES = """
import sys
from pareto_rec.cli.main import main
try:
    main({arguments!r})
except SystemExit as ended:
    code = ended.code
print(code, *sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)
"""


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(said([*command, "--help"], capsys).split())
    assert f"Usage: {' '.join(['pareto-rec', *command])} " in text
    example = re.search(r"Example: pareto-rec ((?:(?! Options:| Arguments:).)*)", text)
    assert example is not None
    arguments = example[1].split()
    assert arguments[: len(command)] == command
    said([*arguments, "--help"], capsys)  # its options are real ones


@pytest.mark.parametrize("short", [["-h"], [], ["data"], ["data", "-h"], ["search", "-h"]])
def test_help_comes_without_being_asked_for(
    short: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Usage: pareto-rec" in said(short, capsys)


def loaded(*arguments: str) -> set[str]:
    """Heavy packages that a command has loaded when it ends."""
    script = MODULES.format(arguments=list(arguments), heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    code, *modules = done.stderr.split()
    assert code == "0"
    return set(modules)


def test_help_loads_nothing_heavy() -> None:
    assert loaded("--help") == set()
    assert loaded("search", "--help") == set()


def test_a_look_at_the_data_loads_no_more_than_it_needs() -> None:
    assert loaded("data", "list") <= {"numpy", "scipy"}


def test_help_is_fast() -> None:
    """0.1 s on an idle core; the bound leaves room for a busy one."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(program("--help"), capture_output=True, check=True)
        taken.append(time.perf_counter() - began)
    assert min(taken) < 1.0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"pareto_rec \d+\.\d+\.\d+\n", said(["--version"], capsys))


def test_data_list_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(["data", "list"], capsys).startswith(f"{DATA}  ")
    assert DATA in json.loads(said(["data", "list", "--json"], capsys))


def test_data_fetch_says_where(
    sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(sources))
    assert said(["data", "fetch", DATA], capsys) == f"{sources / 'data' / DATA}\n"
    found = json.loads(said(["data", "fetch", DATA, "--json"], capsys))
    assert found == {"name": DATA, "folder": str(sources / "data" / DATA)}


def test_data_inspect_tells_of_the_leak(
    sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Users, items and rows are those of the data set's own readme; the leak is DESIGN's 36 %."""
    monkeypatch.setenv(CACHE_VARIABLE, str(sources))
    found = json.loads(said(["data", "inspect", DATA, "--json"], capsys))
    assert (found["users"], found["items"], found["rows"]) == (943, 1682, 100_000)
    assert round(found["split"]["late_train_share"], 2) == 0.36
    text = said(["data", "inspect", DATA], capsys)
    assert "of the training rows are later than the median test row" in text


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RunFailedError("the disk\nis full"), 1, "failed: the disk is full\n"),
        (KeyError("x"), 1, "failed: KeyError: 'x' (unforeseen: the same command with --debug"),
        (KeyboardInterrupt(), 130, "interrupted: "),
    ],
)
def test_whatever_goes_wrong_is_one_line(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(commands, "report_on", fail)
    with pytest.raises(SystemExit) as caught:
        main(["report", "x"])
    assert caught.value.code == code
    text = capsys.readouterr()
    assert text.out == ""
    assert text.err.startswith(line)
    assert text.err.count("\n") == 1


def test_debug_shows_what_was_unforeseen(tmp_path: Path) -> None:
    done = pareto_rec("--debug", "report", tmp_path, cache=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "BadRequestError" in done.stderr


def test_a_reader_that_leaves_is_no_trouble() -> None:
    """As in ``pareto-rec data list | head -0``."""
    with subprocess.Popen(
        program("data", "list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
