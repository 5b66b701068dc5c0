"""Adapting and searching through the real command line, on real data and the real backbone."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_experiment import CONFIG, pareto_rec, records, write_config

QUICK = ("--set", "adapt.steps=1", "--set", "adapt.texts=2", "--set", "adapt.pairs=2")
TUNED = CONFIG.replace(
    "[space.serve]",
    'tuned_layers = { kind = "choice", options = [0, 1] }\n'
    'tuning = { kind = "choice", options = ["lora", "full"], when = { tuned_layers = [1] } }\n\n'
    "[space.serve]",
).replace("[fixed]", "[fixed]\nlive_texts = 4\nrefresh_every = 100\ncheck_every = 6")


def test_adapt_then_search_with_what_it_made(tiny_cache: Path, tmp_path: Path) -> None:
    cache = tiny_cache
    config = write_config(tmp_path / "tiny")
    search = ("search", config, "--smoke", "--workers", "1", "--set", "backbone.adapted=true")
    early = pareto_rec(*search, *QUICK, "--out", tmp_path / "early", cache=cache)
    assert early.returncode == 2
    assert "run pareto-rec adapt with the same config first" in early.stderr
    assert early.stderr.splitlines()[-1].startswith("error: backbone.adapted = true")
    assert not (tmp_path / "early").exists()
    done = pareto_rec("adapt", config, *QUICK, "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["made_before"] is False
    assert (Path(said["folder"]) / "model.safetensors").is_file()
    again = pareto_rec("adapt", config, *QUICK, cache=cache)
    assert again.stdout.strip() == f"{said['folder']} (made before)"
    run = tmp_path / "run"
    found = pareto_rec(*search, *QUICK, "--out", run, cache=cache)
    assert found.returncode == 0, found.stderr
    assert all(one["status"] == "ok" for one in records(run))


def test_candidates_of_different_cuts_in_one_search(tiny_cache: Path, tmp_path: Path) -> None:
    cache = tiny_cache
    config = write_config(tmp_path / "tuned", TUNED)
    run = tmp_path / "run"
    options = ("--workers", "1", "--set", "search.population=5", "--set", "search.generations=1")
    done = pareto_rec("search", config, *options, "--out", run, cache=cache)
    assert done.returncode == 0, done.stderr
    rows = records(run)
    assert all(one["status"] == "ok" for one in rows), rows
    tuned = {one["fit"] for one in rows if one["train"]["tuned_layers"]}
    frozen = {one["fit"] for one in rows if not one["train"]["tuned_layers"]}
    assert tuned
    assert frozen
    sizes = {one: (cache / "fits" / f"{one}.safetensors").stat().st_size for one in tuned | frozen}
    assert min(sizes[one] for one in tuned) > max(sizes[one] for one in frozen)
    assert max(sizes.values()) < 10_000_000  # of 90 MB that the backbone has


def test_more_layers_than_there_are_is_one_line(tiny_cache: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny")
    done = pareto_rec("search", config, "--set", "fixed.exit_layer=9", cache=tiny_cache)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: exit_layer = 9: ")
    assert "has 6 layers; lower it" in done.stderr
