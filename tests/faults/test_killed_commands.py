"""Searches and other commands that are killed at random moments: nothing is lost or unreadable.

Each begins with everything imported, so that a kill costs a second and hits what it does. Three
kills of each kind; PARETO_REC_KILLS searches and PARETO_REC_COMMAND_KILLS commands where set.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from random_bert import random_bert
from running_search import KILLS, group, wait_for
from tables import shop
from tiny_experiment import environment
from warm_commands import WarmCommand

from pareto_rec.analysis.verify import check_run
from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.reader import read_run

COMMAND_KILLS = int(os.environ.get("PARETO_REC_COMMAND_KILLS", "4"))

CONFIG = """\
name = "killed"
question = "Does it survive?"
baselines = ["popularity", "item_knn"]
[data]
kind = "table"
files = "{log}"
on_bad_rows = "skip"
[data.items]
files = "{items}"
categories = "category"
text = "name"
[backbone]
name = "{bert}"
max_length = 8
[[objective]]
name = "ndcg@5"
reference = 0.0
[[objective]]
name = "ild@5"
reference = 0.1
[fixed]
model = "attention_pooling"
steps = 8
batch = 16
history = 8
width = 8
heads = 2
[space.train]
loss_weights = {{ kind = "simplex", names = ["softmax", "popularity"] }}
learning_rate = {{ kind = "real", low = 0.01, high = 0.1, log = true }}
[space.serve]
fusion = {{ kind = "simplex", names = ["network", "ease_recency"] }}
mmr = {{ kind = "real", low = 0.0, high = 0.9 }}
depth = {{ kind = "integer", low = 5, high = 20 }}
[train]
pack_size = 2
[search]
population = 4
generations = 4
sweep = 4
[adapt]
steps = 5
"""


def start(log: Path, cache: Path, *arguments: str | Path, own_session: bool = False) -> WarmCommand:
    """A command as a process of its own; what it says goes into a file."""
    words = list(map(str, arguments))
    return WarmCommand(words, environment(cache), own_session=own_session, output=log)


@dataclass(frozen=True)
class Calm:
    """A search that nobody killed, and how long it takes where texts and baselines are cached."""

    folder: Path
    config: Path
    run: Path
    cache: Path
    seconds: float

    def fresh_cache(self, name: str) -> Path:
        """Its cache without its fits."""
        target = self.folder / name
        return Path(shutil.copytree(self.cache, target, ignore=shutil.ignore_patterns("fits")))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:

    folder = tmp_path_factory.mktemp("killed")
    log, items = shop(folder)
    bert, config = random_bert(folder / "bert"), folder / "config.toml"
    config.write_text(CONFIG.format(log=log, items=items, bert=bert))
    said, run, cache = folder / "said", folder / "calm", folder / "cache"
    began = time.monotonic()
    code = start(said, cache, "search", config, "--out", run, "--workers", "1").wait()
    assert code == 0, said.read_text()
    first = time.monotonic() - began
    spent = json.loads((run / "run.json").read_text())["seconds"]
    return Calm(folder, config, run, cache, first - spent["encoding"] - spent["tuning"])


def records(run: Path) -> list[dict[str, object]]:
    lines = (run / "records.jsonl").read_bytes().splitlines()
    kept = [
        {k: v for k, v in json.loads(line).items() if k not in ("timing", "checksum")}
        for line in lines
    ]
    return sorted(kept, key=lambda one: (one["generation"], one["position"]))


def bad(run: Path) -> list[str]:
    return [f"{one.file}: {one.says}" for one in check_run(run) if one.state == "bad"]


def test_killed_searches_end_like_one_that_nobody_killed(calm: Calm, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    moments, said = random.Random(seed), tmp_path / "said"
    kills = runs = 0
    longest = calm.seconds
    while kills < KILLS:
        run, cache = tmp_path / f"run{runs}", calm.fresh_cache(f"cache{runs}")
        begin = ("search", calm.config, "--out", run, "--workers", "1", "--resume")
        runs, kept = runs + 1, b""
        while kills < KILLS:
            began = time.monotonic()
            process = start(said, cache, *begin)
            time.sleep(moments.random() * longest)
            process.kill()
            code = process.wait()
            assert code in (0, -signal.SIGKILL), (seed, said.read_text())
            if code == 0:
                longest = min(longest, time.monotonic() - began)
                break
            kills += 1
            path = run / "records.jsonl"
            now = path.read_bytes() if path.is_file() else b""
            assert now.startswith(kept), seed  # what was recorded stays
            kept = now[: now.rfind(b"\n") + 1]
            if path.is_file() and (run / "config.toml").is_file() and kept:
                assert not bad(run), seed
                view = read_run(run)
                assert view.info["status"].startswith(("stopped without a word", "finished")), seed
        assert start(said, cache, *begin).wait() == 0, (seed, said.read_text())
        assert records(run) == records(calm.run), seed
        for name in ("front.csv", "baselines.csv", "lists.json"):
            assert (run / name).read_bytes() == (calm.run / name).read_bytes(), (seed, name)
        assert not bad(run), seed
        assert not list(run.rglob(".*.spare")), seed
        assert not list(cache.rglob(".*.spare")), seed
        shutil.rmtree(cache)
    print(f"{kills} kills over {runs} searches, seed {seed}")


@pytest.mark.parametrize("names", [("records.jsonl",), ("records.jsonl", "config.toml")])
def test_a_search_killed_before_it_wrote_a_record_begins_again(
    calm: Calm, tmp_path: Path, names: tuple[str, ...]
) -> None:
    run, said = tmp_path / "run", tmp_path / "said"
    run.mkdir()
    (run / "records.jsonl").touch()
    if "config.toml" in names:
        shutil.copy(calm.run / "config.toml", run)
    begin = ("search", calm.config, "--out", run, "--workers", "1", "--resume")
    assert start(said, calm.cache, *begin).wait() == 0, said.read_text()
    assert records(run) == records(calm.run)


def test_killed_commands_lose_nothing(calm: Calm, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    moments, said = random.Random(seed), tmp_path / "said"
    run = Path(shutil.copytree(calm.run, tmp_path / "run"))
    cache = Path(shutil.copytree(calm.cache, tmp_path / "cache"))
    commands: list[tuple[str | Path, ...]] = [
        ("report", run),
        ("pick", run, "--utopia"),
        ("confirm", run, "--seeds", "1", "--workers", "1"),
        ("export", run, "--to", tmp_path / "bundle", "--front"),
        ("compare", run, calm.run, "--out", tmp_path / "compared"),
        ("adapt", calm.config),
        ("check", run),
    ]
    spent: dict[str | Path, float] = {}
    for kill in range(COMMAND_KILLS):
        command = commands[kill % len(commands)]
        shutil.rmtree(tmp_path / "bundle", ignore_errors=True)
        opened, picked = openings(run), picks(run)
        began = time.monotonic()
        process = start(said, cache, *command)
        time.sleep(moments.random() * spent.get(command[0], 2.0))
        process.kill()
        code = process.wait()
        assert code in (0, -signal.SIGKILL), (seed, command, said.read_text())
        if code == 0:
            spent[command[0]] = time.monotonic() - began
        assert openings(run)[: len(opened)] == opened, seed
        assert picks(run)[: len(picked)] == picked, seed
        assert not bad(run), (seed, command, bad(run))
        read_run(run)
        assert records(run) == records(calm.run), seed
    shutil.rmtree(tmp_path / "bundle", ignore_errors=True)  # of an export that was done in time
    for command in commands[: max(2, min(COMMAND_KILLS, len(commands)))]:
        assert start(said, cache, *command).wait() == 0, (seed, command, said.read_text())
    assert not bad(run), seed
    for place in (run, cache):
        assert not list(place.rglob(".*.spare")), seed
    print(f"{COMMAND_KILLS} kills, seed {seed}")


def openings(run: Path) -> list[str]:
    path = run / "confirm.json"
    return [one["at"] for one in json.loads(path.read_text())["opened"]] if path.exists() else []


def picks(run: Path) -> list[dict[str, object]]:
    path = run / "picks.json"
    return json.loads(path.read_text())["picks"] if path.exists() else []


def test_a_changed_line_is_refused_and_evaluated_again_once_it_is_removed(
    calm: Calm, tmp_path: Path
) -> None:
    run, said = Path(shutil.copytree(calm.run, tmp_path / "run")), tmp_path / "said"
    path, command = run / "records.jsonl", ("search", run, "--resume", "--workers", "1")
    lines = path.read_bytes().splitlines(keepends=True)
    place = len(lines) // 2
    changed = re.sub(rb'("ndcg@5":0\.)\d', rb"\g<1>9", lines[place])
    changed = (
        changed if changed != lines[place] else lines[place].replace(b'"depth":', b'"depth":1')
    )
    path.write_bytes(b"".join([*lines[:place], changed, *lines[place + 1 :]]))
    assert start(said, calm.cache, *command).wait() == 2
    assert said.read_text().startswith(f"error: {path}, line {place + 1}: not a record (it is not")
    assert said.read_text().count("\n") == 1
    path.write_bytes(b"".join([*lines[:place], *lines[place + 1 :]]))
    assert start(said, calm.cache, *command).wait() == 0, said.read_text()
    assert records(run) == records(calm.run)
    assert not bad(run)


def test_a_config_that_was_edited_is_refused(calm: Calm, tmp_path: Path) -> None:
    run, said = Path(shutil.copytree(calm.run, tmp_path / "run")), tmp_path / "said"
    config = run / "config.toml"
    config.write_text(config.read_text().replace("width = 8", "width = 16"))
    assert start(said, calm.cache, "search", run, "--resume", "--workers", "1").wait() == 2
    assert "config.toml is not the one that it names" in said.read_text()
    assert [one.partition(":")[0] for one in bad(run)] == ["config.toml"]


def test_several_at_once(calm: Calm, tmp_path: Path) -> None:
    """Reports of one run succeed; of two that go on with a run, the second is refused."""
    run = Path(shutil.copytree(calm.run, tmp_path / "run"))
    started = [start(tmp_path / str(n), calm.cache, "report", run) for n in range(3)]
    assert [one.wait() for one in started] == [0] * 3, (tmp_path / "2").read_text()
    assert not list(run.glob(".*"))
    more = ("--resume", "--workers", "1", "--set", "search.generations=50")
    first = start(tmp_path / "first", calm.cache, "search", run, *more)
    wait_for(lambda: json.loads((run / "run.json").read_text())["status"] == "running")
    assert start(tmp_path / "second", calm.cache, "search", run, *more).wait() == 2
    line = f"error: {run} is being written by another process; wait for its end or stop it\n"
    assert (tmp_path / "second").read_text() == line
    first.kill()
    first.wait()


def test_searches_at_once_take_names_of_their_own(
    calm: Calm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    less = ("--workers", "1", "--set", "search.generations=1")
    started = [start(tmp_path / str(n), calm.cache, "search", calm.config, *less) for n in range(3)]
    assert [one.wait() for one in started] == [0] * 3, (tmp_path / "2").read_text()
    assert len(list((tmp_path / "results" / "killed").iterdir())) == 3


def test_a_refused_search_leaves_no_name_behind(
    calm: Calm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = ("--set", 'data.files="nowhere.csv"')
    assert start(tmp_path / "said", calm.cache, "search", calm.config, *wrong).wait() == 2
    assert {path.name for path in tmp_path.iterdir()} == {"said"}


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_that_is_deleted_is_noticed(calm: Calm, tmp_path: Path, moved: bool) -> None:
    run, said = tmp_path / "run", tmp_path / "said"
    more = ("--workers", "1", "--set", "search.generations=50")
    process = start(said, calm.cache, "search", calm.config, "--out", run, *more)
    wait_for((run / "front.csv").is_file)
    run.rename(tmp_path / "elsewhere")
    if not moved:
        shutil.rmtree(tmp_path / "elsewhere")
    assert process.wait() == 1
    last = said.read_text().splitlines()[-1]
    assert last.startswith(f"failed: {run / 'records.jsonl'} was deleted or moved while")
    assert not run.exists()


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_three_interrupts_end_a_search_at_once(calm: Calm, tmp_path: Path, pause: float) -> None:
    """Nor is a process left behind."""
    run, log = tmp_path / "run", tmp_path / "said"
    more = ("--workers", "2", "--set", "search.generations=50")
    begin = ("search", calm.config, "--out", run, *more)
    process = start(log, calm.cache, *begin, own_session=True)
    path = run / "records.jsonl"
    wait_for(lambda: process.poll() is not None or (path.is_file() and path.stat().st_size))
    for _ in range(3):
        if group(process.pid):
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(pause)
    code, said = process.wait(timeout=60), log.read_text()
    assert code in (130, -signal.SIGINT), said  # a shell shows 130 for both
    last = said.splitlines()[-1]
    assert last.startswith("interrupted: "), said
    assert f"go on with: pareto-rec search {run} --resume --workers 2" in last
    assert "Traceback" not in said
    wait_for(lambda: not group(process.pid), 15)
    with pytest.raises(BadRequestError, match="not a run directory"):
        read_run(tmp_path)
    assert len(read_run(run).records) > 0
