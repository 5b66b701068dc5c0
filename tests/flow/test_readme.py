"""What the documents tell people to type is right: commands, configs, Python, files."""

from __future__ import annotations

import re
import tomllib
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from pareto_rec.cli.main import main
from pareto_rec.data import DATASETS
from pareto_rec.experiment.config import load_any_config, load_config
from pareto_rec.experiment.experiment import Experiment

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "experiments" / "movielens_accuracy_diversity_fairness"
EXPERIMENTS = sorted((ROOT / "experiments").glob("*/README.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *EXPERIMENTS]


def blocks(document: Path, language: str) -> list[str]:
    """Code blocks of a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", document.read_text())


def lines(*documents: Path) -> list[str]:
    """Commands in the shell blocks of documents, without their comments."""
    text = "".join(block for one in documents for block in blocks(one, "bash"))
    return [line.partition("#")[0].strip() for line in text.splitlines() if line.strip()]


COMMANDS = [line for line in lines(*DOCUMENTS) if line.startswith("pareto-rec ")]


def test_the_documents_have_commands() -> None:
    assert len(COMMANDS) >= 5
    assert lines(ROOT / "README.md")[:2] == ["make front", "make test"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_there_is(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Options are parsed before --help is answered, so a wrong one would be refused."""
    _, *arguments = command.split()
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0, capsys.readouterr().err
    if arguments[0] == "search":
        settings = [after for word, after in pairwise(arguments) if word == "--set"]
        Experiment.of(load_config(ROOT / arguments[1], settings, smoke="--smoke" in arguments))
    if arguments[:2] == ["data", "inspect"]:
        assert arguments[2] in DATASETS or (ROOT / arguments[2]).is_dir()


@pytest.mark.parametrize("line", [one for one in lines(*DOCUMENTS) if one.startswith("make ")])
def test_a_target_is_one_that_there_is(line: str) -> None:
    assert re.search(rf"(?m)^{line.split()[1]}:", (ROOT / "Makefile").read_text())


@pytest.mark.parametrize("line", [one for one in lines(*EXPERIMENTS) if "python" in one])
def test_a_script_is_where_it_should_be(line: str) -> None:
    _, script, *options = line.split()
    assert (ROOT / script).is_file()
    flags = {option for option in options if option.startswith("--")}
    assert flags <= set(re.findall(r"--\w+", (ROOT / script).read_text())) | {
        "--smoke",
        "--controls",
    }


def merged(table: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A table with the entries of another, tables within merged as well."""
    both = dict(table)
    for key, value in more.items():
        inner = both.get(key)
        nested = isinstance(value, dict) and isinstance(inner, dict) and "kind" not in value
        both[key] = merged(inner, value) if nested and inner is not None else value
    return both


def test_the_config_of_the_readme_works(tmp_path: Path) -> None:
    """It is an excerpt: what it leaves out comes from the experiment that it is taken from."""
    import tomli_w

    (excerpt,) = blocks(ROOT / "README.md", "toml")
    whole = merged(tomllib.loads((MAIN / "config.toml").read_text()), tomllib.loads(excerpt))
    (tmp_path / "config.toml").write_text(tomli_w.dumps(whole))
    made = Experiment.of(load_config(tmp_path))
    assert [goal.name for goal in made.goals] == ["ndcg@10", "ild@10"]
    assert made.goals[0].at_least == 0.10


def test_the_python_of_the_readme_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = blocks(ROOT / "README.md", "python")
    monkeypatch.chdir(ROOT)
    exec(compile(script, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out == f"{load_config(MAIN).question}\n"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", document.read_text()):
        if target.startswith("https://"):
            continue
        path = (document.parent / target).resolve()
        assert path.exists(), f"{document.name}: {target}"


def test_every_experiment_can_be_run_by_its_script() -> None:
    for config in (ROOT / "experiments").glob("*/config.toml"):
        assert load_any_config(config).name == config.parent.name
        assert (config.parent / "run.py").is_file(), f"{config.parent.name} has no run.py"


def test_versions_agree() -> None:
    """The changelog tells of what pyproject.toml says, and every pin is an exact one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = [p for p in (ROOT / "constraints.txt").read_text().splitlines() if not p.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+", pin) for pin in pins)
    assert pins == sorted(pins)
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {re.split(r"[\[><=]", one)[0].lower().replace("_", "-") for one in wanted}
    assert names - {"pareto-rec"} <= {pin.partition("==")[0] for pin in pins}
