"""A point of four fits on real data: exported in every form, served, updated and confirmed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from several_fits import with_fused_record
from tiny_experiment import write_config

from pareto_rec.analysis.confirm import confirm_run
from pareto_rec.analysis.verify import check_run
from pareto_rec.bundle import Bundle
from pareto_rec.bundle.bundle import CHUNK
from pareto_rec.bundle.export import ExportOptions, export_run
from pareto_rec.bundle.onnx_backend import OnnxBackend
from pareto_rec.bundle.scoring import known_people
from pareto_rec.bundle.source import Run
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.config import load_config
from pareto_rec.ranking import recommend
from pareto_rec.ranking.backends import TorchBackend
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.record import Record, fit_ids

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def searched(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    folder = tmp_path_factory.mktemp("several")
    quick = ("search.generations=1", "search.population=4", "search.sweep=2")
    config = load_config(write_config(folder), quick)
    run = search_experiment(config, folder / "run", cache=tiny_cache, workers=1)
    return run, with_fused_record(run, tiny_cache)


@pytest.fixture(scope="module")
def folder(
    searched: tuple[Path, Record], tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    to = tmp_path_factory.mktemp("bundle") / "bundle"
    options = ExportOptions(searched[1].id, onnx=True, int8=True)
    export_run(searched[0], to, options, cache=tiny_cache)
    return to


def test_the_run_is_as_consistent_as_any(searched: tuple[Path, Record]) -> None:
    run, record = searched
    assert not [one for one in check_run(run) if one.state == "bad"]
    view = read_run(run)
    row = view.front.set_index("id").loc[record.id]
    assert row["fit"] == "+".join(sorted(name for name in record.members if name != "ease_recency"))
    assert row["serve.fusion.network"] == pytest.approx(0.5)
    assert row["serve.fusion.ease_recency"] == 0.5


def test_lists_of_the_bundle_are_those_of_the_run(
    searched: tuple[Path, Record], folder: Path, tiny_cache: Path
) -> None:
    run, record = searched
    bundle = Bundle.load(folder)
    evaluator = Run.read(run, tiny_cache).experiment.evaluator()
    scorers, settings, fits = evaluator.fused([record])
    assert len(fits) == 4
    (expected,), _ = recommend(scorers, settings, k=10)
    np.testing.assert_array_equal(bundle.top(10), expected)
    assert set(bundle.parts.fits) == set(fits)
    agreement = bundle.about.agreement
    assert agreement["fp32"]["same_lists"] == 1.0
    assert agreement["onnx"]["same_lists"] > 0.99
    assert agreement["int8"]["same_lists"] > 0.5
    measured = bundle.about.point(record.id).forms
    for name, value in record.objectives.items():
        assert measured["fp32"][name] == pytest.approx(value, rel=1e-6), name
        assert measured["int8"][name] == pytest.approx(value, rel=0.1, abs=0.01), name


def test_graphs_of_every_member_give_what_its_head_gives(folder: Path) -> None:
    bundle = Bundle.load(folder)
    heads, people = bundle.engine.form, known_people(bundle.parts)[:50]
    assert isinstance(heads, TorchBackend)
    for form, tolerance in (("onnx", 1e-4), ("int8", 0.3)):
        graphs = Bundle.load(folder, form=form).engine.form
        assert isinstance(graphs, OnnxBackend)
        for fit_id, fit in bundle.parts.fits.items():
            found = graphs.network(fit_id, people, fit.shape.tasks)
            expected = heads.network(fit_id, people, fit.shape.tasks)
            pairs = [(found.relevance, expected.relevance)]
            pairs += [(found.tasks[name], expected.tasks[name]) for name in fit.shape.tasks]
            for mine, other in pairs:
                scale = float(other.std())
                assert float((mine - other).abs().mean()) < tolerance * scale, (form, fit_id)


def test_a_request_is_answered_and_explained(folder: Path, searched: tuple[Path, Record]) -> None:
    bundle, members = Bundle.load(folder), searched[1].members
    user = bundle.parts.users.ids[7]
    answer = bundle.recommend(user, k=5, explain=True)
    assert [item.id for item in answer.items] == [
        bundle.parts.items.ids[place] for place in bundle.top(5)[7]
    ]
    for item in answer.items:
        assert item.explanation is not None
        assert set(item.explanation.scorers) == set(members)
        assert sum(item.explanation.scorers.values()) == pytest.approx(item.score, abs=1e-3)
    prepared = Bundle.load(folder, room=10**8)
    for _ in range(2):  # computed, then remembered
        assert prepared.recommend(user, k=5).items == bundle.recommend(user, k=5).items
    assert len(bundle.parts.users.ids) > CHUNK


def test_every_member_is_trained_again_on_all_data(
    searched: tuple[Path, Record], folder: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    run, record = searched
    options = ExportOptions(record.id, refit=True)
    again = export_run(run, tmp_path / "bundle", options, cache=tiny_cache)
    first = Bundle.load(folder)
    assert set(again.parts.fits) == set(first.parts.fits)
    for name, fit in first.parts.fits.items():
        other = again.parts.fits[name]
        assert other.spec == fit.spec
        assert any(not torch.equal(other.params[n], part) for n, part in fit.params.items())


def test_every_member_is_trained_anew_and_measured_on_test_data(
    searched: tuple[Path, Record], tiny_cache: Path
) -> None:
    run, record = searched
    with one_thread():
        confirm_run(run, seeds=2, cache=tiny_cache, workers=1)
    content: dict[str, Any] = json.loads((run / "confirm.json").read_text())
    points = {one["id"]: one for one in content["points"] if one["front"] == "search"}
    assert record.id in points
    assert content["failed"] == []
    assert points[record.id]["seeds"] == 2
    assert points[record.id]["values"]["ndcg@10"]["test"]["mean"] > 0


def test_a_member_without_a_record_of_its_own_stops_a_confirmation(
    searched: tuple[Path, Record], tiny_cache: Path, tmp_path: Path
) -> None:
    from pareto_rec.analysis.confirm import reported_front as front

    run, record = searched
    lost = fit_ids(record.fit)[0]
    entry = {"id": record.id, "fit": record.fit, "train": {}, "serve": dict(record.serve)}
    experiment = Run.read(run, tiny_cache).experiment
    with pytest.raises(BadRequestError, match=f"fuses the fit {lost}, of which there is no record"):
        front._networks(experiment, entry, {}, tmp_path)
