"""Bundles of runs with plugins: refused where those are missing, and nothing is imported on their
word."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tiny_bundle import tiny_parts
from tiny_experiment import pareto_rec

from pareto_rec.bundle import Bundle
from pareto_rec.bundle.store import write_bundle
from pareto_rec.core import registry
from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.plugins import load_plugins

pytestmark = pytest.mark.usefixtures("single_thread")

PLUGIN = """\
from pathlib import Path

Path(__file__).with_name("imported").touch()
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "my_shop_plugin.py"
    path.write_text(PLUGIN)
    return path


def bundle_of(folder: Path, plugins: str) -> Path:
    """The tiny bundle, whose config names plugins."""
    parts = tiny_parts(folder)
    config = f"plugins = {plugins}\n{parts.config}"
    write_bundle(folder / "bundle", dataclasses.replace(parts, config=config))
    return folder / "bundle"


def test_a_bundle_without_its_plugin_is_refused_and_imports_nothing(
    tmp_path: Path, plugin: Path
) -> None:
    bundle = bundle_of(tmp_path, f'["{plugin}"]')
    with pytest.raises(BadRequestError, match=r"--plugin my_shop_plugin\.py`$") as caught:
        Bundle.load(bundle)
    assert str(bundle) in str(caught.value)
    assert not (tmp_path / "imported").exists()


def test_the_commands_say_how_and_it_works(tmp_path: Path, plugin: Path) -> None:
    """Its file lies elsewhere than when the run was made: the last part of its name counts."""
    bundle = bundle_of(tmp_path, '["/another/machine/my_shop_plugin.py"]')
    ask = ("recommend", bundle, "--user", "user 1")
    refused = pareto_rec(*ask, cache=tmp_path / "cache")
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "pareto-rec --plugin my_shop_plugin.py" in refused.stderr
    assert not (tmp_path / "imported").exists()
    answered = pareto_rec("--plugin", plugin, *ask, cache=tmp_path / "cache")
    assert answered.returncode == 0, answered.stderr
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        ('["shop.parts", "b.py"]', r"needs plugins .*--plugin shop\.parts --plugin b\.py`$"),
        ('"shop"', r"config\.toml: plugins is not a list of names"),
        ("[1]", r"config\.toml: plugins is not a list of names"),
        (r'["a\u001b[2J"]', r"--plugin a\\x1b\[2J`$"),
    ],
)
def test_what_is_said(tmp_path: Path, plugins: str, words: str) -> None:
    with pytest.raises(BadRequestError, match=words) as caught:
        Bundle.load(bundle_of(tmp_path, plugins))
    assert str(caught.value).isprintable()


def test_a_module_that_was_imported_by_name_is_not_loaded_twice(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(plugin.parent)
    monkeypatch.setattr(registry, "_plugins", {})
    import my_shop_plugin

    load_plugins([str(plugin)])
    assert registry.loaded_plugins() == (str(plugin),)
    key = registry.plugin_key()
    assert my_shop_plugin.Path is Path
    registry.add_plugin("/elsewhere/my_shop_plugin.py", {plugin.name: plugin})
    assert registry.plugin_key() != key  # two plugins now, though of one name


def test_the_key_tells_packages_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages have an ``__init__.py`` each."""
    paths = [tmp_path / name for name in ("a.py", "b.py")]
    for path in paths:
        path.write_text(f"NAME = {path.stem!r}\n")
    keys = set()
    for first, second in ((paths[0], paths[1]), (paths[1], paths[0]), (paths[0], paths[0])):
        monkeypatch.setattr(registry, "_plugins", {})
        registry.add_plugin("first", {"__init__.py": first})
        registry.add_plugin("second", {"__init__.py": second})
        keys.add(registry.plugin_key())
    assert len(keys) == 3
