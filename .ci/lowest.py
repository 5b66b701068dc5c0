"""Whether the lower bounds in pyproject.toml are true: install exactly them, and try the program.

Run it by hand after a bound has changed, with any Python 3.11 or later:

    python .ci/lowest.py            # an environment of its own, removed afterwards
    python .ci/lowest.py --keep DIR # an environment that stays, to look into a failure

Minutes and about 2 GB. The dependencies and every extra are installed at their lower bounds; what
these need in turn is as new as they allow. PyTorch alone stays at the version of constraints.txt:
builds of older ones for the CPU alone are not on PyPI, and those with CUDA take several GB.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AT_CONSTRAINTS = ("torch",)
TESTS = (  # quick ones, which together touch every dependency
    *("contracts/test_objectives.py", "contracts/test_pickers.py", "contracts/test_models.py"),
    *(
        "unit/experiment/test_config.py",
        "unit/experiment/test_limits.py",
        "unit/data/test_table_reading.py",
    ),
    *(
        "unit/search/test_front.py",
        "unit/runs/test_store.py",
        "unit/search/test_surrogate.py",
        "unit/report/test_plots.py",
    ),
    *(
        "unit/search/test_search.py",
        "unit/kernels/test_kernels.py",
        "unit/ranking/test_policy.py",
        "unit/report/test_report.py",
    ),
    *(
        "unit/losses/test_aggregation_tables.py",
        "unit/training/test_fitstore.py",
        "unit/core/test_fetch.py",
    ),
    *(
        "unit/training/test_tuned_layers.py",
        "unit/execution/test_cluster.py",
        "unit/bundle/test_bundle_onnx.py",
    ),
    *(
        "contracts/test_aggregation.py",
        "contracts/test_experts.py",
    ),
    *("flow/test_search_command.py", "flow/test_export_command.py"),
)
TOOLS = ("pytest", "hypothesis")  # of the tests; at the versions of constraints.txt


def lowest() -> list[str]:
    """``name==version`` of every dependency and extra, as low as pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    left_out = ("all", "dev", "testing")  # the last: TOOLS
    wanted += [one for name, more in extras.items() if name not in left_out for one in more]
    pins = dict(pinned())
    found = []
    for one in wanted:
        match = re.fullmatch(r"([\w.-]+)>=([\w.]+)", one)
        if match is None:
            raise SystemExit(f"pyproject.toml: {one!r} is not of the form name>=version")
        name, version = match.groups()
        found.append(f"{name}=={pins[name] if name in AT_CONSTRAINTS else version}")
    return found


def pinned() -> Iterator[tuple[str, str]]:
    """Name and version of each line of constraints.txt."""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, equals, version = line.partition("==")
        if equals:
            yield name, version


def run(*command: str | Path) -> int:
    """Run a command in the repository, say which, and return its exit code."""
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(words, cwd=ROOT, env=env, check=False).returncode


def check(folder: Path) -> list[str]:
    """Install into a folder and try the program; what failed, in words."""
    python = folder / "bin" / "python"
    if not python.exists() and run(sys.executable, "-m", "venv", folder):
        return ["python -m venv"]
    pins = dict(pinned())
    wanted = [*lowest(), *(f"{name}=={pins[name]}" for name in TOOLS)]
    if run(python, "-m", "pip", "install", "--quiet", *wanted):
        return ["pip install: the lower bounds do not go together"]
    with tempfile.TemporaryDirectory() as results:
        quick = ["search", "experiments/movielens_accuracy_diversity_fairness", "--smoke"]
        tries: dict[str, list[str | Path]] = {
            "--help": ["-m", "pareto_rec", "--help"],
            "search --help": ["-m", "pareto_rec", "search", "--help"],
            "search --smoke": ["-m", "pareto_rec", *quick, "--out", Path(results) / "run"],
            "report": ["-m", "pareto_rec", "report", Path(results) / "run"],
        }
        # Warnings are errors for the versions of constraints.txt; old versions warn about new ones.
        for test in TESTS:
            tries[test] = ["-m", "pytest", "-x", "-o", "filterwarnings=default", f"tests/{test}"]
        return [name for name, words in tries.items() if run(python, *words)]


def main() -> int:
    """Exit code 1 and a list where a bound is not true."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="environment that is made, used again and kept")
    parser.add_argument("--list", action="store_true", help="print the versions and stop")
    asked = parser.parse_args()
    print("\n".join(lowest()), flush=True)
    if asked.list:
        return 0
    if asked.keep:
        failed = check(asked.keep.resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="lowest-") as folder:
            failed = check(Path(folder))
    print("failed: " + "; ".join(failed) if failed else "every lower bound holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
