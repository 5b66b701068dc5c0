"""Heartbeat of a run: whether a process still writes to it."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEAT = 20.0  # seconds between two signs of life
SILENCE = 300.0  # seconds after which a writer on another machine counts as dead

STOPPED = "stopped without a word"


def writer() -> dict[str, object]:
    """Return the writing process, as run.json describes it."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


@contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Give signs of life for as long as the block lasts."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(BEAT):
            beat()

    thread = threading.Thread(target=go_on, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(BEAT)


def status_of(records: Path, info: Mapping[str, Any]) -> str:
    """Return the status of a run by run.json, unless that says that a dead process is running.

    Args:
        records: Its records.jsonl; the time of its last change is the last sign of life.
        info: Content of run.json.
    """
    status = str(info.get("status", "unknown"))
    try:
        seen = records.stat().st_mtime
        if status != "running" or _is_written(records, info, seen):
            return status
    except OSError:
        return status
    moment = datetime.fromtimestamp(seen, UTC).isoformat(timespec="seconds")
    return f"{STOPPED}, last sign of life at {moment}"


def _is_written(records: Path, info: Mapping[str, Any], seen: float) -> bool:
    own = info.get("writer")
    host = own.get("host") if isinstance(own, Mapping) else None
    if host not in (None, socket.gethostname()):  # whose locks cannot be seen from here
        return time.time() - seen < SILENCE
    with records.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
