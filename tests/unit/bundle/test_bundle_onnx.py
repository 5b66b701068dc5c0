"""ONNX forms of a small bundle: graphs give what PyTorch gives, int8 nearly so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import SERVINGS, tiny_parts

from pareto_rec.bundle import Bundle, BundleData, NewItem, files, write_bundle
from pareto_rec.bundle.check import read_anew
from pareto_rec.bundle.onnx_backend import OnnxBackend
from pareto_rec.bundle.onnx_export import export_graphs
from pareto_rec.bundle.session import session
from pareto_rec.core.errors import BadRequestError
from pareto_rec.ranking.backends import TorchBackend

pytestmark = pytest.mark.usefixtures("single_thread")

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = tiny_parts(tmp_path_factory.mktemp("bert"))
    about = parts.about.model_copy(update={"forms": ["fp32", "onnx", "int8"]})
    parts = dataclasses.replace(parts, about=about)
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(folder, parts)
    form = Bundle.of(parts).engine.form
    assert isinstance(form, TorchBackend)
    export_graphs(folder, parts, form.heads, onnx=True, int8=True)
    files.seal(folder)
    return folder


@pytest.fixture(scope="module")
def parts(folder: Path) -> BundleData:
    return Bundle.load(folder).parts


def test_every_part_has_a_graph_in_both_forms(folder: Path) -> None:
    stems = {"encoder", "expert_ease_recency", "expert_item_knn_recency"}
    stems |= {"head_attention", "head_causal"}
    names = {path.name for path in (folder / "onnx").iterdir()}
    assert names == {f"{stem}{end}" for stem in stems for end in (".onnx", ".int8.onnx")}


@pytest.mark.parametrize("point", SERVINGS)
def test_onnxruntime_gives_the_same_lists(folder: Path, point: str) -> None:
    mine, other = Bundle.load(folder), Bundle.load(folder, form="onnx")
    np.testing.assert_array_equal(other.top(5, point), mine.top(5, point))
    one, two = (bundle.recommend("user 3", k=5, point=point) for bundle in (mine, other))
    for a, b in zip(one.items, two.items, strict=True):
        assert (a.id, a.score) == (b.id, pytest.approx(b.score, abs=1e-3))


@pytest.mark.parametrize("point", SERVINGS)
def test_int8_is_another_and_near(folder: Path, point: str) -> None:
    """Not the same scores, or nothing would be quantised; close ones, or it would be wrong."""
    mine, other = (Bundle.load(folder, form=form) for form in ("fp32", "int8"))
    scores = []
    for bundle in (mine, other):
        answer = bundle.recommend("user 3", k=15, point=point)
        scores.append({item.id: item.score for item in answer.items})
    both = sorted(scores[0].keys() & scores[1].keys())
    assert len(both) > 10
    gaps = np.abs([scores[0][id_] - scores[1][id_] for id_ in both])
    assert 0 < gaps.max() < 0.15


def test_a_repeated_item_counts_once_with_its_last_row(parts: BundleData, folder: Path) -> None:
    form = OnnxBackend(parts, files.read_manifest(folder), quantised=False)
    items = np.array([4, 7, 4, 9], dtype=np.int64)
    starts = np.array([0, 4, 4])
    for name, model in parts.experts.items():
        found = form.expert(name, starts, items)
        np.testing.assert_allclose(found, model.score(starts, items), atol=1e-5)
    assert np.abs(found[0]).max() > 0.1


def test_texts_of_any_number_and_length_are_encoded(parts: BundleData, folder: Path) -> None:
    """One graph for all: batches of other sizes than the example it was written with."""
    reader = Bundle.load(folder).texts
    for quantised, least in ((False, 0.99999), (True, 0.98)):
        form = OnnxBackend(parts, files.read_manifest(folder), quantised=quantised)
        found = form.features(parts.items.texts, reader)
        one, other = found - parts.mean, parts.features - parts.mean
        norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosines = (one * other).sum(axis=1) / norms
        assert cosines.min() > least
        engine, cosine = read_anew(parts, form)
        assert cosine == pytest.approx(cosines.min())
        assert engine.n_items == 24
    assert cosine < 0.999999  # of int8


def test_padding_does_not_matter(folder: Path) -> None:
    graph = session((folder / "onnx" / "encoder.onnx").read_bytes())
    ids = np.array([[2, 5, 6, 3]], dtype=np.int64)
    longer = np.pad(ids, ((0, 0), (0, 5)))
    mask = np.pad(np.ones_like(ids), ((0, 0), (0, 5)))
    short = graph.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    padded = graph.run(None, {"input_ids": longer, "attention_mask": mask})[0]
    np.testing.assert_allclose(padded, short, atol=1e-5)


def test_what_graphs_cannot_do_is_said(folder: Path) -> None:
    bundle = Bundle.load(folder, form="onnx")
    with pytest.raises(BadRequestError, match='load "fp32" to add items'):
        bundle.with_items([NewItem("x", "war")])
    with pytest.raises(BadRequestError, match='explanations need the form "fp32"'):
        bundle.recommend("user 1", explain=True)
    answer = bundle.recommend(history=["i1", NewItem("x", "war")], k=3)
    assert answer.notes == ('left out of the history, not in the catalogue: "x"',)
    assert bundle.recommend("nobody", k=3).served_from == "popularity"


def test_an_unknown_form_is_refused(folder: Path) -> None:
    with pytest.raises(BadRequestError, match='unknown form "fp16"'):
        Bundle.load(folder, form="fp16")
