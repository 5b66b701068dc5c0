"""A wrong request is one clear line and exit code 2, before any work, and leaves nothing behind."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_experiment import CONFIG, DATA, environment, fresh_cache, pareto_rec, write_config

from pareto_rec.cli.main import main
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import CACHE_VARIABLE
from pareto_rec.data import fetch

Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Runs a search that must be refused, without a cache, and returns its one line."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "no-cache"))

    def there() -> list[Path]:
        kept = tmp_path / "cache"
        return sorted(path for path in tmp_path.rglob("*") if kept not in path.parents)

    def run(*more: str, text: str = CONFIG) -> str:
        config = write_config(tmp_path / "experiment", text)
        before = there()
        with pytest.raises(SystemExit) as caught:
            main(["search", str(config), "--json", "--out", str(tmp_path / "results/run"), *more])
        said = capsys.readouterr()
        assert caught.value.code == 2
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert there() == before
        return said.err

    return run


KEYS = [  # what is set, and what the line must say
    ("search.popultion=3", 'unknown key "search.popultion"; did you mean "search.population"?'),
    ("objective.0.nme='ild@5'", 'did you mean "objective.0.name"?'),
    ("space.train.learning_rate.lo=1", 'did you mean "space.train.learning_rate.low"?'),
    ("zzz=1", 'unknown key "zzz"; known here: name, question'),
    ("search.population=1", "search.population: must be at least 2, not 1"),
    ("search.generations=two", "search.generations: must be a whole number, not 'two'"),
    ("search.sweep=0", "search.sweep: must be at least 1, not 0"),
    ("seed=-1", "seed: must be at least 0, not -1"),
    ("seed=", "seed: must be a whole number, not ''"),
    ("split.validation=1.5", "split.validation: must be below 1, not 1.5"),
    ("search.start=sobol", "search.start: must be 'lhs' or 'random', not 'sobol'"),
    ("objective=[]", "objective: needs at least 2 entries and has 0"),
    ("name=a/b", "name: must be made of letters, digits, dots"),
    ("name.first=3", "name is a value, not a table"),
    ("objective.9.name=x", "9 is no entry of a list of 2"),
    ("search", "write key=value"),
    ("=3", "write key=value"),
    ("space.train.heads={kind='choice'}", 'a variable of kind "choice" needs "options"'),
    ("space.train.width={kind='odd'}", "space.train.width.kind: must be 'real', 'integer'"),
    ("space.serve.mmr.high=-1.0", "space.serve.mmr: low must be a number below high"),
]
NAMES = [
    ("objective.0.name=ncdg@10", 'unknown objective "ncdg@10" (did you mean "ndcg@10"?); known: '),
    ("reported=['coverage']", 'lacks the list length: write "coverage@10"'),
    ("reported=['worst(coverage@10 by gender)']", "needs one value per user"),
    ("objective.1.name=ndcg@10", "goals of different names"),
    ("search.algorithm=nsga", 'unknown search algorithm "nsga"'),
    ("baselines=['eas']", 'unknown expert in baselines "eas"'),
    ("data.name=movielens", 'unknown data set "movielens" (did you mean "movielens-100k"?)'),
    ("fixed.model=attention", 'fixed.model: unknown model "attention"'),
    ("fixed.aggregation=sum", 'fixed.aggregation: unknown loss aggregation "sum"'),
    (
        "fixed.combine=mgda",
        'fixed.combine: the training variable "combine" is now called "aggregation"',
    ),
    ("fixed.places=2", 'fixed.places: the training variable "places" is now called "positions"'),
    ("fixed.shaped=8", 'the training variable "shaped" is now called "regularizer_rows"'),
    ("fixed.products=auto", 'the training variable "products" is now called "matmul_dtype"'),
    (
        "space.train.shaped={kind='integer', low=4, high=8}",
        'space.train.shaped: the training variable "shaped" is now called "regularizer_rows"',
    ),
    ("space.serve.mmr.when={combine=['mgda']}", 'variable "combine" is now called "aggregation"'),
    ("fixed.stepps=3", 'fixed.stepps: unknown training variable "stepps" (did you mean "steps"?)'),
    (
        "space.train.model={kind='choice', options=['attention_pooling', 'gru']}",
        'space.train.model: unknown model "gru"; known: attention_pooling, self_attention',
    ),
    (
        "space.train.aggregation={kind='choice', options=['weighted_sum', 'weighted_chebishev']}",
        'did you mean "weighted_chebyshev"?',
    ),
    ("space.train.loss_weights.names=['softmax', 'popularty']", 'did you mean "popularity"?'),
    ("space.train.widht={kind='integer', low=4, high=8}", 'did you mean "width"?'),
    ("space.serve.fusion.names=['network', 'eease']", 'space.serve.fusion: unknown expert "eease"'),
    ("space.serve.mrr={kind='real', low=0.0, high=0.5}", 'did you mean "mmr"?'),
]
RANGES = [
    ("fixed.steps=0", "fixed.steps: 0 is out of range: it must be a whole number at least 1"),
    ("fixed.steps=2.5", "fixed.steps: 2.5 is out of range"),
    ("fixed.steps=true", "fixed.steps: True is out of range"),
    ("fixed.steps='many'", "fixed.steps: 'many' is out of range"),
    ("fixed.history=1000", "it must be a whole number at least 1 and at most 200"),
    ("fixed.dropout=1.0", "it must be a number at least 0 and below 1"),
    ("fixed.temperature=0.0", "must be a number at least 0.000001 and at most 1,000,000"),
    ("fixed.temperature=nan", "fixed: nan is not a finite number"),
    ("fixed.learning_rate=0.1", "space.train.learning_rate searches it"),
    ("fixed.heads=3", "a width of 8 cannot be shared by 3 heads"),
    ("space.train.steps={kind='integer', low=0, high=5}", "space.train.steps: 0 is out of range"),
    ("space.train.steps={kind='real', low=1.0, high=5.0}", 'use kind = "integer"'),
    ("space.train.batch={kind='choice', options=[16, 0]}", "space.train.batch: 0 is out of range"),
    ("space.train.dropout={kind='real', low=0.0, high=1.5}", "space.train.dropout: 1.5 is out"),
    ("space.train.dropout={kind='simplex', names=['a']}", 'must not be of kind "simplex"'),
    (
        "space.train.positions={kind='choice', options=['one', 'two']}",
        "space.train.positions: 'one' is out of range",
    ),
    ("space.serve.mmr.high=1.5", "space.serve.mmr: 1.5 is out of range"),
    ("space.serve.depth.low=0", "space.serve.depth: 0 is out of range"),
    ("space.serve.fusion={kind='real', low=0.0, high=1.0}", 'must be of kind "simplex"'),
    ("objective.0.at_least=nan", "objective: nan is not a finite number"),
]


@pytest.mark.parametrize(("setting", "line"), [*KEYS, *NAMES, *RANGES])
def test_a_wrong_setting_is_named(setting: str, line: str, refused: Refused) -> None:
    searched = re.match(r"space\.train\.(\w+)=", setting)
    fixed = rf"(?m)^{searched[1]} = .*\n" if searched else "^$"
    assert line in refused("--set", setting, text=re.sub(fixed, "", CONFIG))


def test_heads_that_divide_one_width_and_not_the_other(refused: Refused) -> None:
    more = "[space.train.heads]\nkind = 'choice'\noptions = [2, 4]\n"
    more += "[space.train.width]\nkind = 'choice'\noptions = [8, 6]\n"
    text = CONFIG.replace("width = 8\nheads = 2\n", "") + more
    assert "a width of 6 cannot be shared by 4 heads" in refused(text=text)


def test_heads_that_never_meet_a_width_they_do_not_divide_are_fine(refused: Refused) -> None:
    """Conditional: four heads only with self-attention, whose width is 8. A later key is wrong."""
    more = """
        [space.train.model]
        kind = "choice"
        options = ["attention_pooling", "self_attention"]
        [space.train.heads]
        kind = "choice"
        options = [4]
        when = { model = ["self_attention"] }
        [space.train.width]
        kind = "integer"
        low = 2
        high = 7
        when = { model = ["attention_pooling"] }
    """
    text = CONFIG.replace('model = "attention_pooling"\n', "").replace("heads = 2", "heads = 1")
    assert "unknown data set" in refused("--set", "data.name=none", text=text + more)


@pytest.mark.parametrize("key", ["fixed.combine", "space.train.combine.kind"])
def test_a_former_name_in_the_smoke_table_is_refused(key: str, refused: Refused) -> None:
    line = refused(text=f"{CONFIG}{key} = 'choice'\n")
    assert f'smoke.{key}: the training variable "combine" is now called "aggregation"' in line


def test_the_smoke_table_is_checked_even_when_it_is_not_asked_for(refused: Refused) -> None:
    line = refused(text=CONFIG + "search.popultion = 3\n")
    assert "with its [smoke] table" in line
    assert 'did you mean "search.population"?' in line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name = ", "is not valid TOML: "),
        ("\x00", "is not valid TOML: "),
        ("", 'key "name" is missing'),
        (CONFIG.replace('name = "tiny"', "name = 3"), "name: must be a text, not 3"),
    ],
)
def test_a_config_that_is_none(text: str, line: str, refused: Refused) -> None:
    assert line in refused(text=text)


def test_a_run_directory_that_is_not_empty(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "results" / "run").mkdir(parents=True)
    (tmp_path / "results" / "run" / "mine.txt").touch()
    assert "exists and is not empty; give another --out" in refused()


def test_a_run_directory_below_a_file(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    assert "cannot be written: Not a directory; give another --out" in refused()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that nobody can write to, root included."""
    folder = tmp_path / "results"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(folder)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("a read-only file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_run_directory_on_a_read_only_file_system(refused: Refused, read_only: Path) -> None:
    line = refused()
    assert f"{read_only / 'run'} cannot be written: Read-only file system" in line


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("reported=['ndcg@10[lked]']", 'unknown signal in objective ndcg@10[lked]: "lked"'),
        ("reported=['worst(ndcg@10 by sex)']", '"sex"'),
        ("data.relevance=clicked", "known: liked, rating, watched"),
        ("data.liked=lked", 'unknown signal "lked" (did you mean "liked"?)'),
        ("split.validation=1e-12", "the validation part of movielens-100k is empty"),
        ("split.test=0.95", "together they must stay below 1"),
        ("backbone.name=no/such-encoder", 'unknown backbone "no/such-encoder"'),
        ("backbone.name=./nowhere", 'no folder "./nowhere"; a backbone is a folder, or a name'),
        ("backbone.cut=7", "cut = 7 is out of range"),
        ("train.device=abacus", "abacus"),
    ],
)
def test_what_the_data_or_the_backbone_cannot_answer(
    setting: str,
    line: str,
    refused: Refused,
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = fresh_cache(tmp_path / "cache", sources, ("data", "backbones"))
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert line in refused("--set", setting)


def test_a_checksum_that_differs(sources: Path, tmp_path: Path) -> None:
    """The file is fetched again; where that cannot be, the line says what to delete."""
    cache = tmp_path / "cache"
    shutil.copytree(sources / "data" / DATA, cache / "data" / DATA)
    damaged = max((cache / "data" / DATA).iterdir(), key=lambda path: path.stat().st_size)
    original = damaged.read_bytes()
    content = bytearray(original)
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    refusal = ""
    try:
        fetch(DATA, cache)
    except BadRequestError as error:
        refusal = str(error)
    if damaged.read_bytes() != original:
        assert f"{damaged} has another checksum" in refusal
        assert "delete the file and run again" in refusal


def test_no_network_and_nothing_cached(tmp_path: Path) -> None:
    """A real process without any way out: it says which files to put where."""
    nowhere = "http://127.0.0.1:9"
    env = {k: v for k, v in environment(tmp_path / "cache").items() if not k.startswith("PIP_")}
    env |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": nowhere, "no_proxy": ""}
    env |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere)
    config = write_config(tmp_path / "experiment")
    said = pareto_rec("search", config, "--out", tmp_path / "run", cache=tmp_path, env=env)
    assert said.returncode == 2
    line = said.stderr.splitlines()[-1]
    assert "error: cannot fetch " in line
    assert f"without a network, put into {tmp_path / 'cache' / 'data' / DATA}" in line
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "run").exists()


COMMANDS = [
    (["search"], "Missing argument"),
    (["serch"], "No such command 'serch'. Did you mean 'search'"),
    (["search", "x", "--wrkers", "2"], "No such option: --wrkers"),
    (["search", "x", "--workers", "0"], "it must be at least 1"),
    (["search", "x", "--workers", "two"], "'--workers': it must be a whole number"),
    (["search", "nowhere"], "no config at nowhere; give a TOML file or its folder"),
    (["data", "fetch"], "Missing argument"),
    (["data", "inspect", "movielens"], 'unknown data set or file "movielens" (did you mean'),
    (["data", "drop"], "No such command 'drop'"),
    (["report", "nowhere"], "nowhere is not a run directory"),
    (["--bogus"], "No such option: --bogus"),
]


@pytest.mark.parametrize(("arguments", "line"), COMMANDS)
def test_a_wrong_command_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    said = capsys.readouterr()
    assert caught.value.code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert line in said.err
    assert said.err.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    from pareto_rec.core.errors import BadRequestError

    with pytest.raises(BadRequestError):
        main(["report", "nowhere", "--debug"])
