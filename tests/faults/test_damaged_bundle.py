"""Bundles that were cut short, altered or made to harm: refused with one line, nothing loaded."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import tiny_parts

from pareto_rec.bundle import Bundle, BundleData, files, store, write_bundle
from pareto_rec.core.errors import BadRequestError

pytestmark = pytest.mark.usefixtures("single_thread")

HEAD = "heads/attention.safetensors"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> BundleData:
    return tiny_parts(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def whole(parts: BundleData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(folder, parts)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


class _Bomb:
    """A pickle that leaves a trace when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.trace),)


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / files.MANIFEST).read_text())
    return content


def put_manifest(folder: Path, content: dict[str, Any]) -> None:
    (folder / files.MANIFEST).write_text(json.dumps(content))


def refused(folder: Path, *says: str) -> None:
    with pytest.raises(BadRequestError, match=r"\A[^\n]*\Z") as caught:
        Bundle.load(folder)
    for part in says:
        assert part in str(caught.value)


def test_a_copy_is_as_good_as_the_original(whole: Path, folder: Path) -> None:
    one, other = Bundle.load(whole), Bundle.load(folder)
    assert (one.top(5) == other.top(5)).all()
    assert one.version == other.version


@pytest.mark.parametrize("name", [HEAD, "items.safetensors", "catalogue.json", "bundle.json"])
def test_a_truncated_file(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-7])
    refused(folder, str(path), "truncated", "export the bundle again, or restore a copy of it")


@pytest.mark.parametrize(
    "name", [HEAD, "experts.safetensors", "backbone/model.safetensors", "config.toml"]
)
def test_one_altered_bit(folder: Path, name: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused(folder, str(path), "altered")


def test_a_missing_file(folder: Path) -> None:
    (folder / "items.safetensors").unlink()
    refused(folder, "items.safetensors is missing")


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "heads/../../outside", "C:\\outside", "..\\outside"]
)
def test_a_path_that_leads_outside(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_text("secret")
    content = manifest(folder)
    content["files"][name] = {"sha256": "0" * 64, "bytes": 6}
    put_manifest(folder, content)
    refused(folder, f'the path "{name}" leads outside the bundle')


def test_a_link_that_leads_outside(folder: Path) -> None:
    path = folder / HEAD
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")
    refused(folder, str(path), "leads outside the bundle")


def test_a_linked_folder_that_leads_outside(folder: Path) -> None:
    (folder / "heads").rename(folder.parent / "elsewhere")
    (folder / "heads").symlink_to(folder.parent / "elsewhere")
    refused(folder, "leads outside the bundle")


def test_a_fit_with_the_name_of_a_path(folder: Path) -> None:
    about = json.loads((folder / files.ABOUT).read_text())
    about["points"][0]["fit"] = "../../outside"
    (folder / files.ABOUT).write_text(json.dumps(about))
    files.seal(folder)
    refused(folder, "bundle.json: points.0.fit")


@pytest.mark.parametrize("name", [HEAD, "items.safetensors", "backbone/model.safetensors"])
def test_a_pickle_in_place_of_safetensors(folder: Path, name: str) -> None:
    """Sealed anew, so that checksums fit."""
    trace = folder.parent / "exploded"
    (folder / name).write_bytes(pickle.dumps(_Bomb(trace)))
    files.seal(folder)
    refused(folder, str(folder / name), "is not a safetensors file", "pickles are never loaded")
    assert not trace.exists()


def test_a_pickle_beside_the_weights(folder: Path) -> None:
    trace = folder.parent / "exploded"
    (folder / "backbone" / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(trace)))
    refused(folder, "pytorch_model.bin is not listed")
    files.seal(folder)
    refused(folder, "pytorch_model.bin may be a pickle")
    assert not trace.exists()


def test_a_file_that_nobody_listed(folder: Path) -> None:
    (folder / "backbone" / "adapter_config.json").write_text("{}")
    refused(folder, "adapter_config.json is not listed in manifest.json")


def test_no_bundle_at_all(tmp_path: Path) -> None:
    refused(tmp_path, "is not a bundle (no manifest.json)")
    refused(tmp_path / "nowhere", "is not a bundle")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"format": 1}', '{"format": 1, "files": {}}'])
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / files.MANIFEST).write_text(text)
    refused(folder, "manifest.json")


def test_a_later_format(folder: Path) -> None:
    put_manifest(folder, manifest(folder) | {"format": 3})
    refused(folder, "format 3 is not the 2 that this version reads")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("bundle.json", lambda c: c.pop("points")),
        ("bundle.json", lambda c: c.update(default="nobody")),
        ("bundle.json", lambda c: c["points"][0]["members"].update(other=1.0)),
        ("bundle.json", lambda c: c["points"][0]["members"].clear()),
        ("bundle.json", lambda c: c["experts"].update(ease=None)),
        ("catalogue.json", lambda c: c["items"].pop("ids")),
        ("catalogue.json", lambda c: c["items"]["titles"].pop()),
        ("catalogue.json", lambda c: c["users"]["ids"].clear()),
    ],
)
def test_parts_that_do_not_belong_together(
    folder: Path, name: str, change: Callable[[dict[str, Any]], object]
) -> None:
    """Sealed anew: only a look at what is inside can tell."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    files.seal(folder)
    refused(folder, str(folder))


def test_without_reading_every_file_sizes_still_count(folder: Path) -> None:
    assert Bundle.load(folder, verify=False).points
    path = folder / HEAD
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(BadRequestError, match="truncated"):
        Bundle.load(folder, verify=False)


def test_a_full_disk_leaves_nothing_behind(
    parts: BundleData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "copy_backbone", full)
    with pytest.raises(BadRequestError, match="No space left on device; give another --to"):
        write_bundle(tmp_path / "to", parts)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(parts: BundleData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(BadRequestError, match="give another --to"):
            write_bundle(tmp_path / place, parts)
