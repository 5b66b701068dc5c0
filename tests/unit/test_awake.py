"""The event loop that polls for a while before it sleeps."""

from __future__ import annotations

import asyncio
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pareto_rec.commands import serve as command
from pareto_rec.serve.awake import AwakeSelector, Config, event_loop
from pareto_rec.serve.run import Service


@pytest.fixture
def wires() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def processor_seconds(call: Callable[[], object]) -> float:
    """What a call costs this thread, which does nothing while it sleeps."""
    before = resource.getrusage(resource.RUSAGE_THREAD)
    call()
    after = resource.getrusage(resource.RUSAGE_THREAD)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_it_polls_for_a_while_after_an_event_and_then_sleeps(
    wires: tuple[socket.socket, socket.socket],
) -> None:
    with AwakeSelector(0.2) as selector:
        selector.register(wires[0], selectors.EVENT_READ, "here")
        assert processor_seconds(lambda: selector.select(0.4)) < 0.05  # nothing has come yet
        wires[1].send(b"x")
        [(key, _)] = selector.select()
        assert key.data == "here"
        wires[0].recv(1)
        began = time.monotonic()
        spent = processor_seconds(lambda: selector.select(0.6))
        assert time.monotonic() - began == pytest.approx(0.6, abs=0.15)
        assert 0.02 < spent < 0.35  # of 0.2 s awake, on a machine that may be busy


def test_what_comes_while_it_polls_or_sleeps_is_found(
    wires: tuple[socket.socket, socket.socket],
) -> None:
    with AwakeSelector(0.1) as selector:
        selector.register(wires[0], selectors.EVENT_READ)
        for wait in (0.0, 0.05, 0.3):
            sender = threading.Timer(wait, lambda: wires[1].send(b"x"))
            sender.start()
            assert len(selector.select(5.0)) == 1
            sender.join()
            wires[0].recv(1)
            assert selector.select(0) == []
            assert selector.select(-1) == []


def test_timers_and_other_threads_are_heard_in_time() -> None:
    async def waits() -> tuple[float, str]:
        began = time.monotonic()
        await asyncio.sleep(0.05)
        return time.monotonic() - began, await asyncio.to_thread(lambda: "done")

    for seconds in (0.0, 0.2):
        with asyncio.Runner(loop_factory=lambda seconds=seconds: event_loop(seconds)) as runner:  # type: ignore[misc]
            slept, said = runner.run(waits())
        assert 0.045 < slept < 0.5
        assert said == "done"


@pytest.mark.parametrize(("seconds", "awake"), [(0.05, True), (0.0, False)])
def test_the_service_has_such_a_loop_if_it_shall_be_awake(seconds: float, awake: bool) -> None:
    made = Config("module:app", seconds, loop="asyncio").get_loop_factory()
    assert made is not None
    loop = made()
    assert isinstance(loop._selector, AwakeSelector) == awake  # type: ignore[attr-defined]
    loop.close()


@pytest.mark.parametrize(
    ("cores", "workers", "asked", "expected"),
    [(2, 1, None, 0.05), (2, 2, None, 0.0), (1, 1, None, 0.0), (2, 1, 0.0, 0.0), (2, 4, 1.0, 1.0)],
)
def test_by_default_it_is_awake_where_a_core_is_left(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    workers: int,
    asked: float | None,
    expected: float,
) -> None:
    served: list[Service] = []
    monkeypatch.setattr(command, "cores", lambda: cores)
    monkeypatch.setattr("pareto_rec.serve.run.serve", lambda service, _: served.append(service))
    command.serve(Path("bundle"), workers=workers, awake=asked)
    assert [one.awake for one in served] == [expected]
    assert [one.prepare for one in served] == [64_000_000]
