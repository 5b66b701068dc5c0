"""Made-up requests: mutated configs, extreme values, odd command lines. None ends in a traceback.

Everything goes through the command line's own entry, up to the point at which training would begin.
What is refused is one line and exit code 2. `PARETO_REC_FUZZ=1` tries ten times as many.
"""

from __future__ import annotations

import copy
import json
import os
import random
import signal
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import tomli_w
import typer
from tables import shop
from tiny_experiment import CONFIG

from pareto_rec.cli.main import app, main
from pareto_rec.core.paths import CACHE_VARIABLE

pytestmark = pytest.mark.usefixtures("single_thread")

ROOT = Path(__file__).parents[2]
TIMES = int(os.environ.get("PARETO_REC_FUZZ", "0")) * 9 + 1
SECONDS = 30  # for a request; refusing one takes milliseconds
JARGON = ("Input should", "constrained", "type=", "Traceback", "unforeseen", "pydantic", "[/]")

BASES: list[dict[str, Any]] = [
    tomllib.loads(path.read_text()) for path in sorted((ROOT / "experiments").glob("*/config.toml"))
] + [tomllib.loads(CONFIG)]
TABLE = """
name = "table"
question = "What?"
reported = ["coverage@5", "worst(ndcg@5 by country)", "recall@10", "novelty@5"]
baselines = ["popularity", "item_knn"]
[data]
kind = "table"
files = "log.csv"
items = { files = "items.csv", text = "name", categories = "category", price = "price" }
users = { attributes = "country" }
on_bad_rows = "skip"
separator = ","
encoding = "utf-8"
time_format = "iso"
duplicates = "keep"
min_group = 1
[split]
kind = "per_user"
validation = 0.1
test = 0.1
seed = 0
[backbone]
text = false
components = 8
[[objective]]
name = "ndcg@5"
reference = 0.0
[[objective]]
name = "ild@5"
reference = 0.3
at_least = 0.0
[fixed]
model = "attention_pooling"
width = 8
heads = 2
steps = 2
batch = 16
history = 5
dropout = 0.1
temperature = 0.1
[serving]
depth = 10
[space.train]
learning_rate = { kind = "real", low = 0.01, high = 0.1, log = true }
loss_weights = { kind = "simplex", names = ["softmax", "popularity"], floor = { softmax = 0.1 } }
negatives = { kind = "integer", low = 4, high = 8 }
[space.serve]
fusion = { kind = "simplex", names = ["network", "ease_recency"] }
mmr = { kind = "real", low = 0.0, high = 0.9 }
[search]
algorithm = "nsga2"
population = 3
generations = 1
offspring = 2
first = 3
sweep = 2
timeout_s = 60.0
retries = 1
[train]
pack_size = 1
device = "cpu"
[evaluate]
users = 20
"""

EXTREMES: list[Any] = [
    *(0, -1, 1, 2, 10**9, 2**31, 2**63 - 1, -(2**63), 2**63, 10**30),
    *(0.0, -0.0, 1.5, -1e308, 1e308, 5e-324, 1e-300, 1e300, float("nan"), float("inf")),
    *(float("-inf"), True, False, "", " ", "x", "meta", "auto", "0", "-1", "1e999"),
    *("a" * 300, "a\x00b", "\ufeff", "ä", "../..", "/proc/self/mem", "/dev/zero", "${HOME}"),
    *("ndcg@5000", "ndcg@99999999999999999999", "ndcg@0", "ild@-1", "worst(ndcg@10 by x)"),
    *("worst(worst(ndcg@10 by a) by b)", "ndcg@10[", "%", "{}", "{user", "{0}", "(", "[", "*"),
    *([], [[]], [1, "a"], [{}], {}, {"a": {"b": {}}}, ["x"] * 300, [float("nan")], {"": 1}),
    *("cuda:99", "cpu:7", "utf-7", "idna", "rot13", "\\", "(?P<", "a{99999}", "%Q", "UTC+99"),
]
RAW = [  # behind --set KEY=
    *("", "=", "[", "[" * 3_000, "{" * 3_000, "9" * 5_000, "0x" + "f" * 5_000, "-1e308", "nan"),
    *("1979-05-27", "07:32:00", "'", '"""', "1\nseed = 3", "a.b", "\udcff", "\x00", "true", "1_0"),
    *("[" + "1," * 5_000 + "]", "{a={a={a=1}}}", "{a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v=1}"),
]
KEYS = ["", ".", "..", "a" * 500, "seed.a", "objective.99999999999", "objective.²", "objective.x"]
KEYS += ["space.train." + "a." * 40 + "b", "data", "search.", ".search", "objective", "\udcff", " "]


class ReachedError(BaseException):
    """Training would begin here."""


def reached(*_: Any, **__: Any) -> NoReturn:
    raise ReachedError


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def late(*_: Any) -> NoReturn:
        raise TimeoutError("took too long")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def paths_of(table: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of everything in a config."""
    entries: Any = ()
    if isinstance(table, dict):
        entries = table.items()
    elif isinstance(table, list):
        entries = enumerate(table)
    for key, value in entries:
        yield (*place, key)
        yield from paths_of(value, (*place, key))


def within(table: Any, place: Sequence[Any]) -> Any:
    for part in place:
        table = table[part]
    return table


def mutated(base: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A config with one to three things changed: values, keys, what is there at all."""
    table = copy.deepcopy(base)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = list(paths_of(table))
        if not places:
            break
        place = draw.choice(places)
        holder = within(table, place[:-1])
        match draw.randrange(8):
            case 0:
                del holder[place[-1]]
            case 1 if isinstance(holder, dict):
                word = str(place[-1])
                cut = draw.randrange(len(word) + 1)
                holder[word[:cut] + draw.choice("xe_-é ") + word[cut + 1 :]] = holder[word]
            case 2:
                other = draw.choice(places)
                holder[place[-1]] = copy.deepcopy(within(table, other))
            case 3 if isinstance(holder, list):
                holder.append(copy.deepcopy(draw.choice(holder)))
            case _:
                holder[place[-1]] = copy.deepcopy(draw.choice(EXTREMES))
    return table


@cache
def program() -> Any:
    """The command line as typer builds it from functions, which takes longer than refusing does."""
    return typer.main.get_command(app)


Run = Callable[[list[str]], str]


@pytest.fixture
def outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Run:
    """Runs a request: "reached", "refused", or what is wrong with how it ended."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    built = program()
    monkeypatch.setattr("typer.main.get_command", lambda _: built)

    def run(arguments: list[str]) -> str:
        try:
            with limited(SECONDS):
                main(arguments)
        except ReachedError:
            capsys.readouterr()
            return "reached"
        except SystemExit as ended:
            said = capsys.readouterr()
            if ended.code == 0:
                return "done"
            good = ended.code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1
            short = len(said.err) < 2_500 and not any(word in said.err for word in JARGON)
            return "refused" if good and short else f"exit {ended.code}: {said.err[:600]}"
        except BaseException as error:  # whatever it is, it is what is looked for
            capsys.readouterr()
            return f"{type(error).__name__}: {error}"
        return "returned"

    return run


def written(folder: Path, table: dict[str, Any]) -> Path | None:
    try:
        text = tomli_w.dumps(table)
        tomllib.loads(text)
    except (ValueError, TypeError, OverflowError):
        return None
    (folder / "config.toml").write_text(text)
    return folder / "config.toml"


def judge(outcomes: Counter[str], wrong: list[str], least: Sequence[str]) -> None:
    print(dict(outcomes), f"{len(wrong)} wrong", file=sys.stderr)
    assert not wrong, f"{len(wrong)} of {outcomes.total()}:\n" + "\n".join(wrong[:20])
    assert all(outcomes[kind] for kind in least), outcomes


def tried(outcome: Run, cases: Iterator[tuple[str, list[str]]]) -> tuple[Counter[str], list[str]]:
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    for label, arguments in cases:
        kind = outcome(arguments)
        outcomes[kind if kind in ("reached", "refused", "done") else "wrong"] += 1
        if kind not in ("reached", "refused", "done"):
            wrong.append(f"{label[:300]}\n    -> {kind}")
    return outcomes, wrong


def test_mutated_configs_are_planned_or_refused(
    outcome: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the point at which data would be read."""
    monkeypatch.setattr("pareto_rec.experiment.experiment.read_split", reached)
    draw = random.Random(20260)

    def cases() -> Iterator[tuple[str, list[str]]]:
        for number in range(260 * TIMES):
            table = mutated(BASES[number % len(BASES)], draw)
            path = written(tmp_path, table)
            if path is not None:
                yield f"{number}: {table}"[-1500:], ["search", str(path), "--json", "--out", "run"]

    judge(*tried(outcome, cases()), ["reached", "refused"])


def test_mutated_configs_are_prepared_or_refused(
    outcome: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a table, with everything that is done before the first fit."""
    shop(tmp_path, users=20, items=16)
    monkeypatch.setattr("pareto_rec.execution.search.Workers", reached)
    draw, base = random.Random(7), tomllib.loads(TABLE)

    def cases() -> Iterator[tuple[str, list[str]]]:
        for number in range(14 * TIMES):
            table = mutated(base, draw) if number else base
            path = written(tmp_path, table)
            changed = [p for p in paths_of(table) if p not in places or _differs(table, base, p)]
            label = json.dumps([[*map(str, p), str(within(table, p))[:60]] for p in changed])
            if path is not None:
                yield f"{number}: {label}", ["search", str(path), "--json", "--out", "run"]

    places = set(paths_of(base))
    judge(*tried(outcome, cases()), ["reached", "refused"])


def _differs(table: Any, base: Any, place: tuple[Any, ...]) -> bool:
    value = within(table, place)
    return not isinstance(value, dict | list) and value != within(base, place)


def test_every_value_is_taken_or_refused_at_its_extremes(
    outcome: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key of a config with each extreme value, a share of the pairs at a time."""
    monkeypatch.setattr("pareto_rec.experiment.experiment.read_split", reached)
    base = tomllib.loads(TABLE)
    pairs = [(place, value) for place in paths_of(base) for value in EXTREMES]
    chosen = random.Random(3).sample(pairs, min(260 * TIMES, len(pairs)))

    def cases() -> Iterator[tuple[str, list[str]]]:
        for place, value in chosen:
            table = copy.deepcopy(base)
            within(table, place[:-1])[place[-1]] = value
            path = written(tmp_path, table)
            if path is not None:
                yield f"{place} = {str(value)[:80]!r}", ["search", str(path), "--json"]

    judge(*tried(outcome, cases()), ["reached", "refused"])


def test_odd_overrides_are_taken_or_refused(
    outcome: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pareto_rec.experiment.experiment.read_split", reached)
    base = tomllib.loads(TABLE)
    path = written(tmp_path, base)
    keys = [".".join(map(str, place)) for place in paths_of(base)] + KEYS * 10
    draw = random.Random(11)

    def cases() -> Iterator[tuple[str, list[str]]]:
        for number in range(130 * TIMES):
            key, raw = draw.choice(keys), draw.choice([*RAW, *(str(one) for one in EXTREMES)])
            setting = f"{key}={raw}" if number % 17 else key
            yield setting, ["search", str(path), "--json", "--set", setting]

    judge(*tried(outcome, cases()), ["reached", "refused"])


CONTENTS: dict[str, bytes] = {
    "empty.toml": b"",
    "deep.toml": b"a = " + b"[" * 100_000,
    "dotted.toml": b"a." * 100_000 + b"a = 1",
    "tables.toml": b"[" + b"a." * 50_000 + b"a]\nb = 1",
    "inline.toml": b"a = " + b"{a=" * 5_000 + b"1" + b"}" * 5_000,
    "long.toml": b"seed = " + b"9" * 10_000,
    "hex.toml": b"seed = 0x" + b"f" * 10_000,
    "latin.toml": 'name = "é"'.encode("latin-1"),
    "nul.toml": b"name = \x00",
    "big.toml": b"# " + b"x" * (2 << 20),
    "keys.toml": b"".join(b"k%d = 1\n" % n for n in range(20_000)),
    "many.toml": b"objective = [" + b"{}," * 20_000 + b"]",
    "date.toml": b"name = 1979-05-27\nseed = 07:32:00",
    "bytes.toml": bytes(range(256)),
    "quotes.toml": b'name = """' + b"a" * 100_000,
}


def test_files_that_are_not_a_config_are_refused(outcome: Run, tmp_path: Path) -> None:
    names = ["/proc/self/mem", "/dev/zero", "/dev/null", "/", "nowhere", "x" * 300, "x" * 5_000]
    names += ["a\x00b", "\udcff", "", "/etc/shadow"]
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
        names.append(str(tmp_path / name))
    cases = ((repr(name)[-80:], ["search", name, "--json"]) for name in names)
    judge(*tried(outcome, cases), ["refused"])


# --- every command, every option ----------------------------------------------------------------

ODD = ["", "x", "-1", "0", "1e9", "nan", "999999999999999999999", "a\x00b", "\udcff", "x" * 5_000]
PLACES = ["nowhere", "/dev/zero", "/proc/self/mem", "/", ".", "empty", "file.txt", "x" * 300]
PLACES += ["a\x00b", "\udcff", "run", "/dev/null", "file.txt/below"]


def commands() -> dict[tuple[str, ...], Any]:
    whole = program()
    found = {(name,): one for name, one in whole.commands.items() if not hasattr(one, "commands")}
    return found | {("data", name): one for name, one in whole.commands["data"].commands.items()}


@pytest.mark.parametrize("name", commands(), ids=" ".join)
def test_odd_command_lines_are_refused(
    name: tuple[str, ...], outcome: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    for file in ("run.json", "records.jsonl", "config.toml", "bundle.json", "manifest.json"):
        (tmp_path / "run" / file).write_text("[" * 2_000)
    (tmp_path / "file.txt").write_text("root:x:0:0:secret\n")
    for late in ("execution.search.search_experiment", "experiment.experiment.read_split"):
        monkeypatch.setattr(f"pareto_rec.{late}", reached)
    monkeypatch.setattr("pareto_rec.data.fetch", reached)
    monkeypatch.setattr("pareto_rec.data.synth.write", reached)
    draw, command = random.Random(" ".join(name)), commands()[name]

    def cases() -> Iterator[tuple[str, list[str]]]:
        for _ in range(14 * TIMES):
            given = list(name)
            for one in command.params:
                value = draw.choice(draw.choice((PLACES, ODD)))
                if one.param_type_name == "argument":
                    given += [value]
                elif draw.random() < 0.2:
                    flag = getattr(one, "is_flag", False)
                    given += [one.opts[-1]] if flag else [one.opts[-1], value]
            yield repr(given), given

    outcomes, wrong = tried(outcome, cases())
    judge(outcomes, wrong, [])
