"""Fetching: a local web server and a folder of hand-made wheels stand in for the network."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pareto_rec.core import fetch
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.fetch import HttpSource, WheelSource, obtain, reachable
from pareto_rec.core.paths import cache_dir, file_sha256, written_whole

CONTENT = b"one\ntwo\n"
# Of the eight bytes above, as `printf 'one\ntwo\n' | sha256sum` prints it.
CHECKSUM = "c3f9c8c283a2b1f2f1896f27a01cbe3cddc0c9d93f752e4639035a0f5b36f6e8"
NOWHERE = "http://127.0.0.1:9/a.txt"  # the discard port: nothing listens


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.txt").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which pip looks for wheels instead of any index; it holds ``demo==1.0``."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    with zipfile.ZipFile(folder / "demo-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("demo/inside/a.txt", CONTENT)
        wheel.writestr("demo/__init__.py", "raise SystemExit('a wheel was imported')")
        wheel.writestr(
            "demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
        )
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    return folder


def http(url: str, checksum: str = CHECKSUM) -> HttpSource:
    return HttpSource("a host", {"a.txt": (url, checksum)})


def wheel(member: str = "demo/inside/a.txt", checksum: str = CHECKSUM) -> WheelSource:
    return WheelSource("demo==1.0", {"b.txt": (member, checksum)})


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) if folder.exists() else []


def test_official_source_comes_first_and_the_second_call_is_offline(
    server: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept" / "data"
    sources = (http(f"{server}/a.txt"), wheel())
    assert obtain("things", folder, sources) == [folder / "a.txt"]
    assert (folder / "a.txt").read_bytes() == CONTENT
    assert files_in(folder) == ["a.txt"]
    for function in ("download", "_pip_download"):
        monkeypatch.setattr(fetch, function, lambda *_: pytest.fail("went to the network"))
    assert obtain("things", folder, sources) == [folder / "a.txt"]
    assert index.exists()


@pytest.mark.parametrize("official", ["unreachable", "missing", "altered"])
def test_fallback_is_the_wheel(official: str, server: str, index: Path, tmp_path: Path) -> None:
    source = {
        "unreachable": http(NOWHERE),
        "missing": http(f"{server}/not-there.txt"),
        "altered": http(f"{server}/a.txt", "0" * 64),
    }[official]
    folder = tmp_path / "kept"
    start = time.monotonic()
    assert obtain("things", folder, (source, wheel())) == [folder / "b.txt"]
    assert time.monotonic() - start < 20  # most of it is pip's start
    assert (folder / "b.txt").read_bytes() == CONTENT
    assert files_in(folder) == ["b.txt"]
    assert "demo" not in sys.modules
    assert index.exists()


def test_either_set_of_kept_files_will_do(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(CONTENT)
    assert obtain("things", tmp_path, (http(NOWHERE), wheel())) == [tmp_path / "b.txt"]


def test_nothing_reachable_says_which_file_to_put_where(index: Path, tmp_path: Path) -> None:
    (index / "demo-1.0-py3-none-any.whl").unlink()
    folder = tmp_path / "kept"
    with pytest.raises(BadRequestError) as caught:
        obtain("things", folder, (http(NOWHERE), wheel()))
    message = str(caught.value)
    assert "\n" not in message
    for word in ("things", "127.0.0.1 cannot be reached", str(folder), "a.txt", NOWHERE, "b.txt"):
        assert word in message
    assert "PyPI wheel demo==1.0" in message
    assert "No matching distribution" in message
    assert files_in(folder) == []


@pytest.mark.parametrize(
    ("source", "blame"),
    [
        (wheel("demo/elsewhere.txt"), "holds no readable demo/elsewhere.txt"),
        (wheel(checksum="1" * 64), "another checksum"),
    ],
)
def test_a_wheel_with_other_content_is_refused(
    source: WheelSource, blame: str, index: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadRequestError, match=blame):
        obtain("things", tmp_path / "kept", (source,))
    assert files_in(tmp_path / "kept") == []
    assert index.exists()


def test_a_kept_file_with_another_checksum_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(CONTENT + b"three\n")
    with pytest.raises(BadRequestError, match=r"a\.txt has another checksum.*c3f9c.*delete"):
        obtain("things", tmp_path, (http(NOWHERE),))
    assert (tmp_path / "a.txt").read_bytes() == CONTENT + b"three\n"


def test_a_host_that_never_answers_costs_no_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(10)
        raise OSError

    monkeypatch.setattr(fetch.socket, "create_connection", hang)
    monkeypatch.setattr(fetch, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(fetch, "getproxies", dict)
    start = time.monotonic()
    assert not reachable("https://example.invalid/x")
    assert time.monotonic() - start < 2
    released.set()


def test_behind_a_proxy_only_the_proxy_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "getproxies", lambda: {"https": "http://127.0.0.1:9"})
    monkeypatch.setattr(fetch, "proxy_bypass", lambda _: False)
    assert reachable("https://example.invalid/x")


def test_checksum_agrees_with_hashlib_and_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memo = tmp_path / "large", tmp_path / "memo"
    monkeypatch.setattr("pareto_rec.core.paths._MEMO_FROM_BYTES", 1)
    path.write_bytes(CONTENT)
    assert file_sha256(path, memo) == hashlib.sha256(CONTENT).hexdigest() == CHECKSUM
    with monkeypatch.context() as patched:
        patched.setattr("pareto_rec.core.paths.sha256_of", lambda _: pytest.fail("read again"))
        assert file_sha256(path, memo) == CHECKSUM
    path.write_bytes(b"longer than before")
    assert file_sha256(path, memo) == hashlib.sha256(b"longer than before").hexdigest()
    for note in memo.iterdir():
        note.write_text("{broken")
    assert file_sha256(path, memo) == hashlib.sha256(b"longer than before").hexdigest()


def write_half(target: Path, error: BaseException) -> None:
    with written_whole(target) as spare:
        spare.write_text("half")
        raise error


def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "file"
    with pytest.raises(KeyboardInterrupt):
        write_half(target, KeyboardInterrupt())
    assert files_in(tmp_path) == ["sub"]
    with written_whole(target) as spare:
        spare.write_text("whole")
    with pytest.raises(BadRequestError, match=r"cannot write .*file: No space"):
        write_half(target, OSError(28, "No space left on device"))
    assert target.read_text() == "whole"
    assert files_in(tmp_path) == ["sub", "sub/file"]


def test_a_kill_while_writing_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from pareto_rec.core.paths import written_whole\n"
        "with written_whole(pathlib.Path(sys.argv[1])) as spare:\n"
        "    spare.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "file").exists()


def test_cache_dir_follows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARETO_REC_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()
    monkeypatch.setenv("PARETO_REC_CACHE", "")
    assert cache_dir() == Path.home() / ".cache" / "pareto_rec"
    monkeypatch.setenv("PARETO_REC_CACHE", "~/elsewhere")
    assert cache_dir() == Path.home() / "elsewhere"


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, pareto_rec.core.paths, pareto_rec.core.fetch, pareto_rec.data\n"
        "import pareto_rec.backbone.cached\n"
        "heavy = {'torch', 'transformers', 'pandas', 'pooch', 'requests', 'huggingface_hub'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")
