"""Caches are named by the code that fills them."""

from __future__ import annotations

from pathlib import Path

import pytest

import pareto_rec
from pareto_rec import provenance
from pareto_rec.evaluate import baselines
from pareto_rec.provenance import source_hash
from pareto_rec.train import fitstore


@pytest.mark.parametrize("sources", [baselines.SOURCES, fitstore.SOURCES])
def test_every_source_is_there(sources: tuple[str, ...]) -> None:
    root = Path(pareto_rec.__file__).parent
    assert all(any((root / one).rglob("*.py")) or (root / one).is_file() for one in sources)


def test_a_changed_file_changes_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "inner").mkdir(parents=True)
    (tmp_path / "one.py").write_text("a = 1\n")
    inner = tmp_path / "deep" / "inner" / "two.py"
    inner.write_text("b = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    fresh = source_hash.__wrapped__  # past the memory of earlier calls
    before = fresh("one.py", "deep")
    assert fresh("one.py", "deep") == before != fresh("one.py")
    inner.write_text("b = 2\n")
    assert fresh("one.py", "deep") != before
