"""Fits kept near the most accurate fit of another run, through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_experiment import CONFIG, Finished, pareto_rec, records, write_config

from pareto_rec.core.checksums import signed
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.reader import read_run
from pareto_rec.training.fit_store import read_tensors, write_tensors

pytestmark = pytest.mark.usefixtures("single_thread")

KEPT = CONFIG.replace(
    'names = ["softmax", "popularity"]', 'names = ["softmax", "reference_kl"]'
).replace("[fixed]", '[references]\naccurate = "RUN"\n\n[fixed]\nreference = "accurate"')


@pytest.fixture(scope="module")
def first(tiny_search: Finished, tiny_cache: Path) -> Path:
    shutil.copytree(tiny_search.cache / "fits", tiny_cache / "fits", dirs_exist_ok=True)
    return tiny_search.run


def config_on(run: Path, folder: Path) -> Path:
    return write_config(folder, KEPT.replace("RUN", str(run)))


def test_fits_are_kept_to_the_most_accurate_fit(
    first: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    path, out = config_on(first, tmp_path), tmp_path / "out"
    found = pareto_rec("search", path, "--out", out, "--smoke", "--workers", "2", cache=tiny_cache)
    assert found.returncode == 0, found.stderr
    assert {one["status"] for one in records(out)} == {"ok"}
    experiment = Experiment.of(load_config(path), tiny_cache)
    stage, evaluator = experiment.split.validation, experiment.evaluator()
    info = json.loads((out / "run.json").read_text())
    assert info["hashes"]["references"] == evaluator.store.data_key
    # what the losses get is what the fit says of everybody, as a distribution
    front = read_run(first).front.sort_values("ndcg@10", ascending=False)
    one = evaluator.store.get(front["fit"].iloc[0])
    assert one is not None
    policy = evaluator.data.references["accurate"]
    assert policy.shape == stage.shape
    torch.testing.assert_close(policy.exp().sum(1), torch.ones(len(policy)))
    scorers = evaluator.with_fit(one)
    unseen = ~scorers.seen[0]
    own, kept = scorers.networks["network"].relevance[0][unseen], policy[0][unseen]
    torch.testing.assert_close(own - own.mean(), kept - kept.mean(), atol=1e-4, rtol=0)
    # another reference gives other fits
    other = tmp_path / "other"
    shutil.copytree(first, other)
    file = other / "fits" / f"{front['fit'].iloc[0]}.safetensors"
    second = next(p for p in sorted((other / "fits").glob("*.safetensors")) if p != file)
    stored = read_tensors(second)
    assert stored is not None
    write_tensors(file, *stored)
    changed = Experiment.of(load_config(config_on(other, tmp_path / "second")), tiny_cache)
    moved = changed.evaluator()
    assert moved.store.data_key != evaluator.store.data_key


@pytest.mark.parametrize(
    ("status", "hashes", "says"),
    [
        ("stopped", {}, "is not finished (stopped); resume it first"),
        ("finished", {"stage": "0"}, "was computed from another stage than this experiment"),
    ],
)
def test_a_run_that_does_not_fit_is_one_line(
    first: Path, tiny_cache: Path, tmp_path: Path, status: str, hashes: dict[str, str], says: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(first, other)
    info = json.loads((other / "run.json").read_text())
    info["status"] = status
    info["hashes"] |= hashes
    (other / "run.json").write_text(json.dumps(signed(info)))
    config = config_on(other, tmp_path / "config")
    found = pareto_rec("search", config, "--out", tmp_path / "out", "--smoke", cache=tiny_cache)
    assert found.returncode == 2
    assert f"references.accurate: {other} {says}" in found.stderr
    assert not (tmp_path / "out").exists()
