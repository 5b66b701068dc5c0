"""Items that were added: the file that keeps them, and the bundle that has them."""

from __future__ import annotations

import errno
import gc
import json
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from learnt_bundle import learnt_parts

from pareto_rec.bundle import Bundle, NewItem
from pareto_rec.bundle.texts import Texts
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.serve import items_file
from pareto_rec.serve.items_file import NotKeptError
from pareto_rec.serve.live_bundle import FullError, LiveBundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with one_thread():
        yield Bundle.of(learnt_parts(tmp_path_factory.mktemp("parts")))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.jsonl"


@pytest.fixture
def live(bundle: Bundle, path: Path) -> LiveBundle:
    return LiveBundle(bundle, path, 10)


def state(bundle: Bundle) -> dict[str, Any]:
    """All that is known of the items of a bundle."""
    items = bundle.parts.items
    rows = zip(items.titles, items.texts, items.categories.tolist(), bundle.parts.features.tolist(),
               strict=True)  # fmt: skip
    return dict(zip(items.ids, rows, strict=True))


LINES = ["{", "3", "[3]", '[{"id": 1}]', '[{"id": "a", "no": 1}]', "[{}]", '{"items": []}',
         '{"encoder": "", "items": 3}'.replace("3", "[{}]")]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_file_of_items_that_makes_no_sense(line: str, bundle: Bundle, path: Path) -> None:
    good = '[{"id": "x", "text": "war", "title": "", "categories": []}]'
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(BadRequestError, match=r"items.jsonl, line 2: not a list of items"):
        LiveBundle(bundle, path, 10)


def test_items_of_a_category_that_the_bundle_does_not_know_name_the_file(
    bundle: Bundle, path: Path
) -> None:
    path.write_text('[{"id": "x", "text": "war", "title": "", "categories": ["Wat"]}]\n')
    with pytest.raises(BadRequestError, match=r'items.jsonl: .*did you mean "War"'):
        LiveBundle(bundle, path, 10)


def test_a_line_that_is_not_whole_yet_waits(live: LiveBundle, path: Path) -> None:
    live.add([NewItem("x", "war")])
    line = path.read_bytes().replace(b'"x"', b'"y"')
    with path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert live.bundle().parts.items.ids[-1] == "x"
        file.write(line[20:])
    assert live.bundle().parts.items.ids[-2:] == ("x", "y")
    assert (live.added, live.changed) == (2, 0)


def test_what_other_processes_did_is_read_before_anything_is_answered(
    live: LiveBundle, bundle: Bundle, path: Path
) -> None:
    """One after the other, as the process that did it has it."""
    other = LiveBundle(bundle, path, 10)
    other.add([NewItem("x", "war", "War", ("War",)), NewItem("i3", title="love")])
    other.add([NewItem("x", "love a"), NewItem("x", "love b")])
    assert state(live.bundle()) == state(other.bundle())
    assert state(live.bundle())["x"][0] == "War"
    live.add([NewItem("y", "love")])
    assert other.bundle().parts.items.ids[-2:] == ("x", "y")
    assert (
        state(live.bundle())
        == state(other.bundle())
        == state(LiveBundle(bundle, path, 10).bundle())
    )


def test_nothing_is_encoded_twice(
    live: LiveBundle, bundle: Bundle, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a restart nor by another process, but by one with another encoder."""
    other, encoded = LiveBundle(bundle, path, 10), []
    read = Texts.features

    def noting(texts: Texts, new: list[str]) -> Any:
        encoded.extend(new)
        return read(texts, new)

    monkeypatch.setattr(Texts, "features", noting)
    live.add([NewItem("x", "war"), NewItem("i1", "love")])
    assert encoded == ["war", "love"]
    again = LiveBundle(bundle, path, 10)
    assert state(other.bundle()) == state(again.bundle()) == state(live.bundle())
    assert encoded == ["war", "love"]
    path.write_text(path.read_text().replace('"encoder": "', '"encoder": "another'))
    assert state(LiveBundle(bundle, path, 10).bundle()) == state(live.bundle())
    assert encoded == ["war", "love"] * 2
    assert state(LiveBundle(bundle, path, 10).bundle()) == state(live.bundle())
    assert encoded == ["war", "love"] * 2  # what was encoded anew was kept


def test_lines_of_an_earlier_version_are_read_and_encoded_once(bundle: Bundle, path: Path) -> None:
    old = [{"id": "x", "text": "war", "title": "", "categories": ["War"]}]
    path.write_text(json.dumps(old) + "\n")
    assert LiveBundle(bundle, path, 10).bundle().parts.items.ids[-1] == "x"
    assert "features" in json.loads(path.read_text())["items"][0]


@pytest.mark.parametrize("torn", [b"[", b'{"encoder": "', b"\0" * 100, b'[{"id": "\0\0\0'])
def test_a_torn_end_is_cut_off(torn: bytes, live: LiveBundle, bundle: Bundle, path: Path) -> None:
    """At the start, and before the next line is written by a process that goes on."""
    live.add([NewItem("x", "war")])
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert LiveBundle(bundle, path, 10).bundle().parts.items.ids[-1] == "x"
    assert path.read_bytes() == whole
    path.write_bytes(whole + torn)
    live.add([NewItem("y", "love")])
    assert path.read_bytes().startswith(whole + b"{")
    assert LiveBundle(bundle, path, 10).bundle().parts.items.ids[-2:] == ("x", "y")


def test_items_behind_a_tear_are_not_lost(live: LiveBundle, bundle: Bundle, path: Path) -> None:
    """A file that was lengthened with NULs in the middle, as earlier versions did."""
    live.add([NewItem("x", "war")])
    line = path.read_bytes()
    path.write_bytes(line + b'{"enc' + b"\0" * 50 + line.replace(b'"x"', b'"y"') + b"\0\0\n")
    assert LiveBundle(bundle, path, 10).bundle().parts.items.ids[-2:] == ("x", "y")


@pytest.mark.parametrize("fails", ["write", "sync", "short"])
def test_a_full_disk_adds_nothing_and_loses_nothing(
    fails: str, live: LiveBundle, bundle: Bundle, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.add([NewItem("x", "war")])
    before, write, calls = path.read_bytes(), os.pwrite, []

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def short(descriptor: int, content: bytes, place: int) -> int:
        calls.append(place)
        return write(descriptor, content[:10], place) if len(calls) % 4 else full()

    with monkeypatch.context() as patch:
        if fails == "sync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(os, "pwrite", full if fails == "write" else short)
        for _ in range(2):
            with pytest.raises(NotKeptError, match="No space left"):
                live.add([NewItem("y", "love")])
            assert path.read_bytes() == before
    assert live.bundle().parts.items.ids[-1] == "x"
    live.add([NewItem("y", "love")])
    assert LiveBundle(bundle, path, 10).bundle().parts.items.ids[-2:] == ("x", "y")


def test_changes_count_against_the_limit(live: LiveBundle, bundle: Bundle, path: Path) -> None:
    """As many items as may be touched, each as often as one likes."""
    live.add([NewItem(f"i{n}", "war") for n in range(6)])
    live.add([NewItem(f"x{n}", "war") for n in range(4)])
    assert (live.added, live.changed) == (4, 6)
    for item in (NewItem("i30", "war"), NewItem("x9", "war")):
        with pytest.raises(FullError):
            live.add([item])
    assert live.add([NewItem("i1", "love"), NewItem("x1", "love")]) == (0, 2)
    assert (live.added, live.changed) == (4, 6)
    with pytest.raises(FullError):
        LiveBundle(bundle, path, 10).add([NewItem("x9", "war")])


def test_the_file_stays_short_however_often_items_change(
    live: LiveBundle, bundle: Bundle, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process follows to the new file, and so does one that comes later."""
    monkeypatch.setattr(items_file, "SLACK", 2000)
    other, longest = LiveBundle(bundle, path, 10), 0
    for n in range(60):
        (live if n % 3 else other).add([NewItem(f"x{n % 3}", f"war {n}", "", ("War",))])
        longest = max(longest, path.stat().st_size)
    assert longest < 5000
    assert (
        state(other.bundle())
        == state(live.bundle())
        == state(LiveBundle(bundle, path, 10).bundle())
    )
    assert state(live.bundle())["x2"][1] == "war 59"
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_file_that_was_taken_away_is_written_anew(
    live: LiveBundle, bundle: Bundle, path: Path
) -> None:
    live.add([NewItem("x", "war")])
    path.unlink()
    assert live.bundle().parts.items.ids[-1] == "x"
    live.add([NewItem("y", "love")])
    assert LiveBundle(bundle, path, 10).bundle().parts.items.ids[-2:] == ("x", "y")


def test_replaced_bundles_leave_memory_at_once(bundle: Bundle) -> None:
    """Without waiting for the collector of circles, which comes too late for what is so large."""
    live = LiveBundle(bundle, None, 10)
    live.add([NewItem("x", "war")])
    live.bundle().recommend("u1")
    gc.collect()
    gc.disable()
    try:
        old = [weakref.ref(one) for one in (live.known, live.known.engine)]
        live.add([NewItem("x", "love")])
        assert [one() for one in old] == [None, None]
    finally:
        gc.enable()


def test_many_threads_and_processes_add_without_losing_anything(bundle: Bundle, path: Path) -> None:
    """Three that write at once (each a process, as far as the file knows), while others read."""
    lives = [LiveBundle(bundle, path, 100) for _ in range(3)]

    def adding(number: int) -> None:
        for n in range(6):
            lives[number].add([NewItem(f"t{number}-{n}", "war")])

    threads = [threading.Thread(target=adding, args=(number,)) for number in range(3)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        for one in lives:
            one.bundle()
    ids = [one.bundle().parts.items.ids for one in (*lives, LiveBundle(bundle, path, 100))]
    assert len(set(ids)) == 1
    assert len(ids[0]) == len(bundle.parts.items) + 18
    assert np.isfinite(lives[0].bundle().parts.features).all()
