"""Folders of bundles: changed under a running process, left by killed ones, read by others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_service import served
from tiny_bundle import tiny_parts

from pareto_rec.bundle import Bundle, BundleData, NewItem, files, write_bundle
from pareto_rec.bundle.folders import new_folder, work_folder
from pareto_rec.core.errors import BadRequestError

pytestmark = pytest.mark.usefixtures("single_thread")

Ask = Callable[[str, int], list[str]]

SERVING = """
import json, sys
from pareto_rec.bundle import Bundle, NewItem
from pareto_rec.core.errors import BadRequestError
text = [NewItem("x", "war of love")]
def lists(bundle, warm):
    found = {point: [i.id for i in bundle.recommend("user 3", k=5, point=point).items]
             for point in bundle.points}
    if warm:
        found["text"] = [item.id for item in bundle.recommend(history=text, k=5).items]
    return found
while line := sys.stdin.readline():
    folder, warm = json.loads(line)
    bundle = Bundle.load(folder)
    print(json.dumps(lists(bundle, True) if warm else None), flush=True)
    sys.stdin.readline()
    print(json.dumps(lists(bundle, warm)), flush=True)
    try:
        bundle.recommend(history=text, k=5)
        print("read", flush=True)
    except BadRequestError as error:
        print(error, flush=True)
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> BundleData:
    return tiny_parts(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def folder(parts: BundleData, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", parts)
    return tmp_path / "bundle"


def _spoil(folder: Path, how: str) -> None:
    """Every file shortened to nothing, or overwritten where it lies by other bytes."""
    for name in [*files.files_of(folder)]:
        path = folder / name
        if how == "truncated":
            os.truncate(path, 0)
        else:
            with path.open("rb+") as stream:
                stream.write(b"\xff" * path.stat().st_size)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Sends a line to a process that serves, and reads so many lines; it ends without an error."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVING],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def ask(line: str, lines: int) -> list[str]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return [process.stdout.readline() for _ in range(lines)]

    yield ask
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, (process.returncode, errors)


@pytest.mark.parametrize("how", ["truncated", "overwritten"])
@pytest.mark.parametrize("encoder", ["warm", "cold"])
def test_a_loaded_bundle_does_not_depend_on_its_files(
    folder: Path, ask: Ask, how: str, encoder: str
) -> None:
    """Lists stay the same; texts that need a file for the first time are refused with one line."""
    expected = Bundle.load(folder)
    lists = {p: [i.id for i in expected.recommend("user 3", k=5, point=p).items]
             for p in expected.points}  # fmt: skip
    text = [i.id for i in expected.recommend(history=[NewItem("x", "war of love")], k=5).items]
    [before] = ask(json.dumps([str(folder), encoder == "warm"]), 1)
    _spoil(folder, how)
    after, last = ask("", 2)
    assert json.loads(after) == (lists | {"text": text} if encoder == "warm" else lists)
    if encoder == "warm":
        assert json.loads(before) == json.loads(after)
        assert last == "read\n"
    else:
        assert str(folder / "backbone") in last
        assert ("0 bytes instead of" if how == "truncated" else "its SHA-256 is another") in last


def test_a_service_outlives_a_bundle_that_is_overwritten(folder: Path) -> None:
    pytest.importorskip("uvicorn")
    with served(folder) as service:
        before = service.client.recommend(user="user 3", k=5).content["items"]
        _spoil(folder, "truncated")
        assert service.client.recommend(user="user 3", k=5).content["items"] == before
        assert service.client.recommend(user="user 4", k=5).status == 200
        assert service.process.poll() is None


KILLED = """
import sys, time
from pathlib import Path
from pareto_rec.bundle.folders import new_folder, work_folder
with new_folder(Path(sys.argv[1])) as unfinished, work_folder() as work:
    for one in (unfinished, work):
        (one / "large").write_text("x")
        print(one, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_leaves_is_swept_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it lives nothing of it is touched; folders of other names never are."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    others = [tmp_path / ".bundle.git", tmp_path / ".b.0123456z-1-00000000.spare"]
    others += [temporary / "pareto-rec-notes"]
    for other in others:
        other.mkdir()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "bundle")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = [Path(process.stdout.readline().strip()) for _ in range(2)]

    def begin() -> None:
        with new_folder(tmp_path / "another") as unfinished, work_folder():
            (unfinished / "file").write_text("x")
        shutil.rmtree(tmp_path / "another")

    begin()
    assert [(one / "large").is_file() for one in left] == [True, True]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert all(one.is_dir() for one in left)
    begin()
    assert not any(one.exists() for one in left)
    assert all(one.is_dir() for one in others)
    assert sorted(tmp_path.iterdir()) == sorted([temporary, *others[:2]])
    assert list(temporary.iterdir()) == [others[2]]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_files_are_as_readable_as_the_umask_says(
    parts: BundleData, tmp_path: Path, umask: int, mode: int
) -> None:
    old = os.umask(umask)
    try:
        write_bundle(tmp_path / "bundle", parts)
    finally:
        os.umask(old)
    paths = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    assert len(paths) > 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {mode}
    folders = [tmp_path / "bundle", tmp_path / "bundle" / "heads"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o777 & ~umask}


def test_a_bundle_is_never_written_into_another(parts: BundleData, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    for to in (folder, folder / "new", folder / "heads" / "new"):
        with pytest.raises(BadRequestError, match="give another --to"):
            write_bundle(to, parts)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_place_that_no_folder_can_have(parts: BundleData, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequestError, match=r"\A[^\n\0]*cannot be written[^\n\0]*\Z"):
        write_bundle(tmp_path / name, parts)
