"""Fits on disk: what is stored comes back whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from toy_learning import random_params, shape_of

from pareto_rec.core.errors import FORMER_NAMES
from pareto_rec.training.data import Fit
from pareto_rec.training.fit_store import FitStore, code_hash, fit_of, parts_of
from pareto_rec.training.spec import TrainSpec

pytestmark = pytest.mark.usefixtures("single_thread")

OTHER: dict[str, Any] = {  # another value for every field
    "model": "self_attention",
    "aggregation": "weighted_chebyshev",
    "loss_weights": {"softmax": 0.75, "liked": 0.25},
}


def some_fit(seed: int = 0, **changes: Any) -> Fit:
    spec = TrainSpec(loss_weights={"softmax": 0.7, "liked": 0.3}, width=8)
    shape = shape_of("attention_pooling")
    params = random_params(shape, seed)
    fit = Fit(spec, shape, params, ((25, 0.1), (50, 1 / 3)), 50, 1.25)
    return dataclasses.replace(fit, **changes)


@pytest.fixture
def store(tmp_path: Path) -> FitStore:
    return FitStore(tmp_path / "fits", "data")


def same(left: Fit, right: Fit) -> bool:
    plain = ("spec", "shape", "curve", "best_step", "seconds", "reason")
    return (
        all(getattr(left, name) == getattr(right, name) for name in plain)
        and left.params.keys() == right.params.keys()
        and all(torch.equal(left.params[name], right.params[name]) for name in left.params)
    )


def test_what_was_stored_comes_back_bit_for_bit(store: FitStore) -> None:
    fit = some_fit()
    name = store.id(fit.spec, 3)
    assert store.get(name) is None
    store.put(name, fit)
    found = store.get(name)
    assert found is not None
    assert same(found, fit)


def test_a_fit_with_former_names_of_variables_is_read() -> None:
    fit = some_fit()
    content, tensors = parts_of(fit)
    spec = dict(content["spec"])
    for former, name in FORMER_NAMES.items():
        spec[former] = spec.pop(name)
    assert fit_of({**content, "spec": spec}, tensors).spec == fit.spec


def test_views_and_gradients_are_stored_as_plain_values(store: FitStore) -> None:
    """A slice of a pack, a transposed view, a leaf with gradient."""
    slices, view, leaf = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).clone()
    params = {
        "slice": slices.clone()[1:3],
        "view": view.clone().T,
        "leaf": leaf.clone().requires_grad_(),
    }
    store.put("a", some_fit(params=params))
    found = store.get("a")
    assert found is not None
    for name, value in params.items():
        assert torch.equal(found.params[name], value.detach())


def test_the_last_fit_of_an_id_stays(store: FitStore) -> None:
    store.put("a", some_fit(0))
    store.put("a", some_fit(1))
    found = store.get("a")
    assert found is not None
    assert same(found, some_fit(1))
    assert [path.name for path in store.folder.iterdir()] == ["a.safetensors"]


def test_a_failed_fit_is_not_stored(store: FitStore) -> None:
    store.put("a", some_fit(params={}, reason="loss is not finite at step 3"))
    assert store.get("a") is None
    assert not store.path("a").exists()


@pytest.mark.parametrize("left", [0, 1, 7, 8, 100, 0.5, -1])
def test_a_cut_file_counts_as_none(store: FitStore, left: float) -> None:
    store.put("a", some_fit())
    whole = store.path("a").read_bytes()
    kept = int(len(whole) * left) if isinstance(left, float) else left
    store.path("a").write_bytes(whole[:kept])
    assert store.get("a") is None
    store.put("a", some_fit())
    assert store.path("a").read_bytes() == whole


def test_a_flipped_bit_anywhere_counts_as_none(store: FitStore) -> None:
    """Every 37th byte: length, header, description and values alike."""
    store.put("a", some_fit())
    whole = store.path("a").read_bytes()
    for place in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        store.path("a").write_bytes(damaged)
        found = store.get("a")
        assert found is None or same(found, some_fit()), place  # white space in the header may flip
    store.path("a").write_bytes(whole)
    assert store.get("a") is not None


@pytest.mark.parametrize("content", [b"", b"{}", b"\x02" + b"\0" * 7 + b"{}", b"<html>" * 100])
def test_a_foreign_file_counts_as_none(store: FitStore, content: bytes) -> None:
    store.folder.mkdir()
    store.path("a").write_bytes(content)
    assert store.get("a") is None


def test_nothing_is_pickled(store: FitStore) -> None:
    """Numbers as safetensors, the rest as JSON; reading runs no code."""
    store.put("a", some_fit())
    with safe_open(store.path("a"), framework="numpy") as stored:
        assert set(stored.keys()) == set(some_fit().params)
        metadata = stored.metadata()
    described = json.loads(metadata["fit"].partition(" ")[2])
    assert described["spec"]["loss_weights"] == {"softmax": 0.7, "liked": 0.3}
    assert [path.suffix for path in store.folder.iterdir()] == [".safetensors"]


def test_an_interrupted_write_leaves_nothing(
    store: FitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", some_fit(0))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pareto_rec.training.fit_store.os.replace", interrupted)
    for name in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            store.put(name, some_fit(1))
    assert [path.name for path in store.folder.iterdir()] == ["a.safetensors"]
    found = store.get("a")
    assert found is not None
    assert same(found, some_fit(0))


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The limit on the size of files stands for the end of the disk."""
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from test_fitstore import FitStore, some_fit

        store = FitStore(Path(sys.argv[1]), "data")
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            store.put("a", some_fit())
        except Exception as error:
            print(type(error).__name__)
        print([path.name for path in store.folder.iterdir()], store.get("a"))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "fits")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:4])), "PATH": ""},
    )
    failure, left = done.stdout.splitlines()
    assert failure
    assert left == "[] None"


def test_the_id_depends_on_every_training_variable() -> None:
    store = FitStore(Path("nowhere"), "data")
    ids = {store.id(TrainSpec(), 0)}
    names = [field.name for field in dataclasses.fields(TrainSpec)]
    for name in names:
        default = getattr(TrainSpec(), name)
        number = isinstance(default, int | float)
        value = OTHER.get(name) or ((default * 2 or 1) if number else "other")
        ids.add(store.id(dataclasses.replace(TrainSpec(), **{name: value}), 0))
    assert len(ids) == 1 + len(names)


def test_the_id_depends_on_seed_data_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TrainSpec()
    ids = {FitStore(Path("a"), "data").id(spec, 0), FitStore(Path("b"), "data").id(spec, 0)}
    assert len(ids) == 1, "where the folder lies does not matter"
    ids |= {FitStore(Path("a"), "data").id(spec, 1), FitStore(Path("a"), "other").id(spec, 0)}
    assert code_hash() == code_hash()
    monkeypatch.setattr("pareto_rec.training.fit_store.code_hash", lambda: "changed")
    ids.add(FitStore(Path("a"), "data").id(spec, 0))
    assert len(ids) == 4


def test_the_id_does_not_depend_on_the_order_of_losses() -> None:
    store = FitStore(Path("nowhere"), "data")
    one = TrainSpec(loss_weights={"softmax": 0.7, "liked": 0.3})
    other = TrainSpec(loss_weights={"liked": 0.3, "softmax": 0.7})
    assert store.id(one, 0) == store.id(other, 0)
    assert len(store.id(one, 0)) == 16


def test_a_fit_is_copied_into_a_run(store: FitStore, tmp_path: Path) -> None:
    store.put("a", some_fit())
    store.copy("a", tmp_path / "run" / "fits")
    copy = FitStore(tmp_path / "run" / "fits", "data").get("a")
    assert copy is not None
    assert same(copy, some_fit())
