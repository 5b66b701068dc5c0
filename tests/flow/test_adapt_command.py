"""Adapting and searching through the real command line, on real data and the real backbone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tiny_experiment import CONFIG, environment, records, write_config
from tiny_experiment import pareto_rec as run_command

QUICK = ("--set", "adapt.steps=1", "--set", "adapt.texts=2", "--set", "adapt.pairs=2")
TUNED = CONFIG.replace(
    "[space.serve]",
    'tuned_layers = { kind = "choice", options = [0, 1] }\n'
    'tuning = { kind = "choice", options = ["lora", "full"], when = { tuned_layers = [1] } }\n\n'
    "[space.serve]",
).replace("[fixed]", "[fixed]\nlive_texts = 4\nrefresh_every = 100\ncheck_every = 6")


def pareto_rec(*arguments: str | Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """The command line on one thread: encoding waits for no other thread on a busy machine."""
    return run_command(*arguments, cache=cache, env=environment(cache, OMP_NUM_THREADS="1"))


def test_adapt_then_search_at_different_cuts(tiny_cache: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny", TUNED)
    options = ("--set", "search.population=4", "--set", "search.generations=1")
    search = ("search", config, "--workers", "1", "--set", "backbone.adapted=true", *options)
    early = pareto_rec(*search, *QUICK, "--out", tmp_path / "early", cache=tiny_cache)
    assert early.returncode == 2
    assert "run pareto-rec adapt with the same config first" in early.stderr
    assert early.stderr.splitlines()[-1].startswith("error: backbone.adapted = true")
    assert not (tmp_path / "early").exists()

    done = pareto_rec("adapt", config, *QUICK, "--json", cache=tiny_cache)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["made_before"] is False
    assert (Path(said["folder"]) / "model.safetensors").is_file()

    run = tmp_path / "run"
    found = pareto_rec(*search, *QUICK, "--out", run, cache=tiny_cache)
    assert found.returncode == 0, found.stderr
    rows = records(run)
    assert all(one["status"] == "ok" for one in rows), rows
    tuned = {one["fit"] for one in rows if one["train"]["tuned_layers"]}
    frozen = {one["fit"] for one in rows if not one["train"]["tuned_layers"]}
    assert tuned
    assert frozen
    fits = tiny_cache / "fits"
    sizes = {one: (fits / f"{one}.safetensors").stat().st_size for one in tuned | frozen}
    assert min(sizes[one] for one in tuned) > max(sizes[one] for one in frozen)
    assert max(sizes.values()) < 10_000_000  # of 90 MB that the backbone has


def test_more_layers_than_there_are_is_one_line(tiny_cache: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny")
    done = pareto_rec("search", config, "--set", "fixed.exit_layer=9", cache=tiny_cache)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: exit_layer = 9: ")
    assert "has 6 layers; lower it" in done.stderr
