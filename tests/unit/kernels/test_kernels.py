"""What compiled loops promise beyond what their callers' tests say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pareto_rec
from pareto_rec.kernels.compiled import is_cpu_float32
from pareto_rec.kernels.lists import best


@pytest.mark.parametrize("seed", range(5))
def test_the_best_that_are_not_hidden_are_those_of_a_stable_sort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (7, 30)).astype(np.float32)  # many are equal
    hidden = rng.random(scores.shape) < 0.4
    first = rng.permutation(30)  # of equals
    places, values = best(scores, hidden, 10, np.argsort(first))
    falling = np.where(hidden, np.inf, -scores)[:, first]
    order = first[np.argsort(falling, axis=1, kind="stable")[:, :10]]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, order, 1))


def test_fewer_than_wanted_are_filled_up() -> None:
    scores = np.array([[3, 1, 2]], dtype=np.float32)
    places, values = best(scores, np.array([[True, False, False]]), 3, np.arange(3))
    np.testing.assert_array_equal(places, [[2, 1, -1]])
    np.testing.assert_array_equal(values, [[2, 1, -np.inf]])


def test_what_kernels_can_read() -> None:
    assert is_cpu_float32(torch.zeros(1), torch.zeros(2))
    assert not is_cpu_float32(torch.zeros(1), torch.zeros(1, dtype=torch.float64))
    assert not is_cpu_float32(torch.zeros(1, device="meta"))


def test_a_place_where_nothing_can_be_kept_is_no_obstacle(tmp_path: Path) -> None:
    """A module without a file, for which numba finds no folder to keep what it compiled."""
    code = (
        "from pareto_rec.kernels.compiled import compiled\n"
        "twice = {}\n"
        "exec(compile('def twice(x):\\n    return 2 * x', 'nowhere', 'exec'), twice)\n"
        "print(compiled(twice['twice'])(21))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("42", "")


def test_a_full_disk_is_no_obstacle(tmp_path: Path) -> None:
    """As where no file may grow; the package is a copy that kept nothing yet."""
    package = Path(pareto_rec.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package / "kernels", tmp_path / "pareto_rec" / "kernels", ignore=ignored)
    (tmp_path / "pareto_rec" / "__init__.py").write_text("")
    code = (
        "import resource, numpy as np\n"
        "from pareto_rec.kernels.lists import best\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
        "scores = np.array([[1.0, 3.0, 2.0]], dtype=np.float32)\n"
        "print(best(scores, np.zeros((1, 3), dtype=bool), 2, np.arange(3))[0].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[[1, 2]]", "")
    assert not list(tmp_path.rglob("*.nbc"))
