"""The guide of the docs, run as it stands, and tables through the real command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tables import shop
from tiny_experiment import environment, pareto_rec

GUIDE = Path(__file__).parents[2] / "docs" / "your-own-log.md"
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(line: str, folder: Path, cache: Path) -> str:
    """One line of a shell block, its command run by this Python."""
    words = shlex.split(line)
    target = None
    if ">" in words:
        words, target = words[: words.index(">")], folder / words[-1]
    start = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "pareto_rec"]
    done = subprocess.run(
        [*start, *words[1:]],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(cache),
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    if target is not None:
        target.write_text(done.stdout)
    return done.stdout


def holds(found: object, said: object) -> bool:
    """Whether everything that is said is found, at any depth."""
    if isinstance(said, dict):
        return isinstance(found, dict) and all(holds(found.get(k), v) for k, v in said.items())
    return found == said


def test_the_guide_does_what_it_says(tiny_cache: Path, tmp_path: Path) -> None:
    printed, commands = "", 0
    for language, file, text in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        if language == "python":
            (tmp_path / file).write_text(text)
        elif language == "bash":
            for line in text.splitlines():
                printed, commands = run(line, tmp_path, tiny_cache), commands + 1
        elif language == "toml":
            found = tomllib.loads((tmp_path / "shop.toml").read_text())
            assert holds(found, tomllib.loads(text))
        elif language == "text":
            assert text in printed
    assert commands == 4
    [made] = (tmp_path / "results" / "log").iterdir()
    info = json.loads((made / "run.json").read_text())
    said = info["data"]
    assert said["rows"] == said["used"] + sum(said["dropped"].values()) + sum(said["bad"].values())
    assert said["rows"] == 402
    assert Path(said["skipped_rows_file"]).read_text().count("\n") == 2  # header and row
    assert (made / "front.csv").read_text().count("\n") > 1


def test_inspect_has_a_form_for_programs_and_the_draft_is_sound(tmp_path: Path) -> None:
    log, items = shop(tmp_path)
    done = pareto_rec("data", "inspect", "--json", log, items, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert set(content["columns"]) == {str(log), str(items)}
    config = tomllib.loads(content["config"])
    assert config["data"]["items"]["price"] == "price"
    path = tmp_path / "config.toml"
    path.write_text(content["config"])
    done = pareto_rec("data", "inspect", "--json", path, cache=tmp_path / "cache")
    found = json.loads(done.stdout)
    assert found["users"] == 40
    assert found["account"]["used"] == found["rows"]
    assert found["item_attributes"]["brand"] == {"own": 15, "other": 15}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["movielens-10k"], 'unknown data set or file "movielens-10k" (did you mean "movielens-1'),
        (["nothing.csv"], "there is no file nothing.csv"),
        (["empty"], "no table in the folder empty"),
        (["empty.csv"], "empty.csv is empty: a table begins with a line of column names"),
        (["strange.csv"], "no file has a column of users and one of items"),
        (["broken.parquet"], "broken.parquet is not a Parquet file, as its name says"),
        (["broken.zip"], "broken.zip is not a zip file, as its name says"),
        (["cut.csv.gz"], "cut.csv.gz cannot be read: it is damaged or cut off"),
        (["double.csv"], 'double.csv, line 1: two columns are named "user"'),
        (["${NO_SUCH_VARIABLE}/x.csv"], "set the environment variable NO_SUCH_VARIABLE to the fol"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    import gzip

    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_text("\n")
    (tmp_path / "strange.csv").write_text("a,b\n1,2\n")
    (tmp_path / "double.csv").write_text("user,item,user\n1,2,3\n")
    for name in ("broken.parquet", "broken.zip"):
        (tmp_path / name).write_bytes(b"no such thing")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(os.urandom(5000))[:3000])
    code = (
        "import sys; from pareto_rec.cli.main import main; main(['data', 'inspect', *sys.argv[1:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path / "cache"),
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
