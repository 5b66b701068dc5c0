"""A project outside the checkout, on the installed wheel: one plugin of each kind, and a search."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tiny_experiment import environment, pareto_rec

HERE = Path(__file__).parent / "plugin_project"
ROOT = Path(__file__).parents[2]
KERNELS = Path("pareto_rec", "kernels", "__pycache__")
BREAKS = {  # class in broken.py -> the test that must say so
    "TestModels": "test_no_place_looks_ahead",
    "TestLosses": "test_candidates_do_not_see_each_other",
    "TestAggregators": "test_a_loss_of_preference_zero_is_left_out",
    "TestObjectives": "test_only_the_first_k_places_count",
    "TestBaselines": "test_the_numbering_of_items_does_not_matter",
    "TestAlgorithms": "test_global_random_state_is_neither_used_nor_changed",
    "TestDatasets": "test_signals_are_finite_and_one_of_them_is_always_there",
}
CONFIG = """\
name = "plugged"
question = "Does everything that a plugin adds work?"
plugins = ["shop_plugin.py"]
baselines = ["newest", "popularity"]
objective = [{ name = "ndcg@10", reference = 0.0 }, { name = "first_hit@5", reference = 0.0 }]

[data]
name = "made_up_shop"
liked = "watched"

[backbone]
max_length = 8

[fixed]
model = "gru"
aggregation = "equal_sum"
steps = 5
batch = 16
history = 5
width = 8
heads = 2
loss_weights = { softmax = 0.7, squared_states = 0.3 }

[space.train]
learning_rate = { kind = "real", low = 0.01, high = 0.1, log = true }

[space.serve]
fusion = { kind = "simplex", names = ["network", "newest"] }

[search]
algorithm = "my_random"
population = 3
generations = 2
sweep = 4
"""
SCRIPT = """\
import sys
from pathlib import Path
import pareto_rec
from pareto_rec import SearchCallback, load_config, search_experiment

class Counter(SearchCallback):
    records = generations = 0
    def on_records(self, records, counts):
        self.records += len(records)
        assert counts.records == self.records
        assert all(record.id for record in records)
    def on_generation(self, progress, *, replayed):
        self.generations += 1
    def on_end(self, run):
        print(f"{self.records} records in {self.generations} generations of {run.name}")

class Broken(SearchCallback):
    def on_generation(self, progress, *, replayed):
        raise RuntimeError("the tracking server is away")

class Notes(SearchCallback):
    def on_note(self, note):
        print("note:", note)

if __name__ == "__main__":
    print(pareto_rec.__file__)
    search_experiment(
        load_config(Path("config.toml")), Path(sys.argv[1]), cache=Path(sys.argv[2]),
        workers=2, callbacks=[Counter(), Broken(), Notes()],
    )
"""


CHECK = """\
import json
import sys
from contextlib import redirect_stdout
from io import StringIO
import pytest

found = {}
for file, wanted in json.loads(sys.argv[1]).items():
    with redirect_stdout(StringIO()) as said:
        given = ["-q", "-p", "no:cacheprovider", "--tb=line", file, "-k", wanted]
        code = pytest.main(given)
    found[file] = [code, said.getvalue()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package as its wheel installs it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        ROOT / "pareto_rec", source / "pareto_rec", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"),
            *("install", "--no-deps", "--no-build-isolation", "--target", str(folder / "site")),
            str(source),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a wheel cannot be built here: {done.stderr.strip().splitlines()[-1]}")
    for kernel in (ROOT / KERNELS).glob("*.nbc"):  # compiled from the same source
        (folder / "site" / KERNELS).mkdir(exist_ok=True)
        shutil.copy(kernel, folder / "site" / KERNELS)
    return folder / "site"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path)


def write_project(folder: Path) -> Path:
    (folder / "config.toml").write_text(CONFIG)
    (folder / "search.py").write_text(SCRIPT)
    (folder / "check.py").write_text(CHECK)
    for name in ("shop_plugin.py", "contracts.py", "broken.py"):
        shutil.copyfile(HERE / name, folder / name)
    return folder


def python(
    project: Path, site: Path, cache: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    env = environment(cache, PYTHONPATH=str(site))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_plugin_of_each_kind_is_searched_with(
    project: Path, installed: Path, tiny_cache: Path
) -> None:
    assert not (installed / "benchmarks").exists()
    done = python(project, installed, tiny_cache, "search.py", "run", str(tiny_cache))
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert str(installed) in said[0]
    assert any(line.endswith("records in 2 generations of run") for line in said)
    away = "is not called again: RuntimeError: the tracking server is away"
    assert f"note: the callback Broken failed and {away}" in said
    info = json.loads((project / "run" / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["counts"]["failed"] == 0
    assert [one["name"] for one in info["objectives"]] == ["ndcg@10", "first_hit@5"]
    kept = tomllib.loads((project / "run" / "config.toml").read_text())
    assert kept["plugins"] == [str(project / "shop_plugin.py")]
    more = ("-m", "pareto_rec", "search", "run", "--resume", "--workers", "1")
    again = python(project, installed, tiny_cache, *more)
    assert again.returncode == 0, again.stderr
    # another plugin than the one that it began with: said before any work
    (project / "shop_plugin.py").write_text(
        (project / "shop_plugin.py").read_text() + "\nMORE = 1\n"
    )
    changed = python(project, installed, tiny_cache, *more)
    assert changed.returncode == 2
    assert "code" in changed.stderr


@pytest.fixture(scope="module")
def checked(
    installed: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, str]]:
    """File -> exit code and words of pytest in the project, on the installed package."""
    wanted = " or ".join(f"({name} and {test})" for name, test in BREAKS.items())
    files = json.dumps({"contracts.py": "", "broken.py": wanted})
    project = write_project(tmp_path_factory.mktemp("checked"))
    done = python(project, installed, tiny_cache, "check.py", files)
    assert done.returncode == 0, done.stderr
    return {file: tuple(one) for file, one in json.loads(done.stdout.splitlines()[-1]).items()}


def test_a_plugin_fulfils_the_contracts(checked: dict[str, tuple[int, str]]) -> None:
    code, output = checked["contracts.py"]
    assert code == 0, output
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None
    assert int(passed[1]) > 150, output


def test_what_is_broken_fails_the_contract_that_it_breaks(
    checked: dict[str, tuple[int, str]],
) -> None:
    code, output = checked["broken.py"]
    assert code == 1, output
    for name, test in BREAKS.items():
        assert f"FAILED broken.py::{name}::{test}" in output
    assert "passed" not in output.splitlines()[-1].replace("xpassed", "")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "from pareto_rec import register\n\nraise ValueError('no luck')\n",
            ("line 3", "ValueError: no luck"),
        ),
        ("import not_there_at_all\n", ("line 1", "not_there_at_all")),
        ("def broken(:\n", ("line 1",)),
        (
            "from pareto_rec import register\nfrom pareto_rec.losses import LOSSES\n"
            "register(loss=LOSSES['softmax'])\n",
            ("line 3", 'there is a loss "softmax" already'),
        ),
        ("from pareto_rec import register\nregister('x')\n", ("line 2", "exactly one of")),
    ],
)
def test_a_plugin_that_cannot_be_used_is_named_with_its_line(
    project: Path,
    tiny_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    words: tuple[str, ...],
) -> None:
    (project / "shop_plugin.py").write_text(code)
    monkeypatch.chdir(project)
    done = pareto_rec("search", "config.toml", "--out", "run", cache=tiny_cache)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for word in ("shop_plugin.py", *words):
        assert word in done.stderr
    assert not (project / "run").exists()


def test_a_plugin_that_is_not_there_is_named(
    project: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "shop_plugin.py").unlink()
    monkeypatch.chdir(project)
    done = pareto_rec("search", "config.toml", "--out", "run", cache=tiny_cache)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "shop_plugin.py" in done.stderr
    assert not (project / "run").exists()
