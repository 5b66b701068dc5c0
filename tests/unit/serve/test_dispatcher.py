"""Who computes answers when: in the event loop together, or in the thread; limits and ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch  # noqa: F401  # what the thread would spend its first seconds on

from pareto_rec.bundle.interruption import interruption_point
from pareto_rec.bundle.types import NewItem, Recommendation, Request
from pareto_rec.core.errors import BadRequestError
from pareto_rec.serve.dispatcher import TOGETHER, Answers, BusyError, Dispatcher, LateError


def named(request: Request) -> Recommendation:
    """An answer that says whose it is."""
    return Recommendation((), str(request.user), "user")


class Model:
    """Answers by name and notes who was answered together, and in which thread.

    Users whose names begin with ``bad`` and ``broken`` cannot be answered, and those that begin
    with ``wait`` take as many seconds as their names say.
    """

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.threads: list[str] = []

    def answer(self, requests: Sequence[Request]) -> Answers:
        users = [str(one.user) for one in requests]
        self.groups.append(users)
        self.threads.append(threading.current_thread().name)
        for user in users:
            if user.startswith("wait"):
                time.sleep(float(user.removeprefix("wait")))
            if user.startswith("bad"):
                raise BadRequestError(user)
            if user.startswith("broken"):
                raise RuntimeError(user)
        return [named(one) for one in requests]


@contextmanager
def dispatcher_of(
    model: Model, *, pending: int = 256, jobs: int = 64, seconds: float = 30.0
) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(model.answer, pending=pending, jobs=jobs, seconds=seconds)
    try:
        yield dispatcher
    finally:
        assert dispatcher.stop(10)


def together(
    model: Model, *asked: Sequence[Request], **limits: Any
) -> list[Answers | BaseException]:
    """What becomes of requests that are read in one turn of the loop."""

    async def all_of(dispatcher: Dispatcher) -> list[Answers | BaseException]:
        return await asyncio.gather(*map(dispatcher.answers, asked), return_exceptions=True)

    with dispatcher_of(model, **limits) as dispatcher:
        return asyncio.run(all_of(dispatcher))


def one(user: str, **more: Any) -> list[Request]:
    return [Request(user, **more)]


def test_requests_that_come_together_are_scored_together_in_the_loop() -> None:
    model = Model()
    users = [f"u{n}" for n in range(TOGETHER + 8)]
    found = together(model, *map(one, users))
    assert found == [[named(Request(user))] for user in users]
    assert model.groups == [users[:TOGETHER], users[TOGETHER:]]
    assert set(model.threads) == {threading.current_thread().name}


def test_one_turn_scores_one_kind_and_every_kind_has_its_turn() -> None:
    model = Model()
    short, long = [f"s{n}" for n in range(2 * TOGETHER)], ["l0", "l1"]
    mixed = [one(user, k=5) for user in short] + [one(user, k=50) for user in long]
    other = [one("p", point="x"), one("q", prefer={"a": 1.0, "b": 2.0}),
             one("r", prefer={"b": 2.0, "a": 1.0})]  # fmt: skip
    together(model, *mixed, *other)
    first, second = short[:TOGETHER], short[TOGETHER:]
    assert model.groups == [first, long, ["p"], ["q", "r"], second]


def test_the_loop_turns_between_two_groups() -> None:
    model, seen = Model(), []

    async def ask(dispatcher: Dispatcher) -> None:
        asked = [asyncio.ensure_future(dispatcher.answers(one(f"u{k}", k=k))) for k in (1, 2, 3)]
        while not all(task.done() for task in asked):
            seen.append(len(model.groups))
            await asyncio.sleep(0)

    with dispatcher_of(model) as dispatcher:
        asyncio.run(ask(dispatcher))
    assert {1, 2} <= set(seen)  # something else ran when one group, and when two were answered


SLOW: list[Sequence[Request]] = [
    [Request("a"), Request("b")],
    [Request("a", explain=True)],
    [Request("a", ["i1", NewItem("n", "a text")])],
]


@pytest.mark.parametrize("requests", SLOW)
def test_what_may_take_long_does_not_hold_up_the_loop(requests: Sequence[Request]) -> None:
    model = Model()
    found = together(model, requests)
    assert found == [[named(request) for request in requests]]
    assert model.threads == ["dispatcher"]


def test_lone_requests_are_answered_while_the_thread_is_busy() -> None:
    model, order = Model(), []

    async def ask(dispatcher: Dispatcher, requests: Sequence[Request]) -> None:
        await dispatcher.answers(requests)
        order.append(requests[0].user)

    async def both(dispatcher: Dispatcher) -> None:
        slow = asyncio.ensure_future(ask(dispatcher, one("wait0.3", explain=True)))
        await asyncio.sleep(0.05)
        await ask(dispatcher, one("u"))
        await slow

    with dispatcher_of(model) as dispatcher:
        asyncio.run(both(dispatcher))
    assert order == ["u", "wait0.3"]


def test_a_bad_one_among_them_does_not_spoil_the_others() -> None:
    model = Model()
    users = [f"u{n}" for n in range(TOGETHER)]
    users[7], users[20] = "bad", "broken"
    found = together(model, *map(one, users))
    for user, answer in zip(users, found, strict=True):
        if user == "bad":
            assert isinstance(answer, BadRequestError)
        elif user == "broken":
            assert isinstance(answer, RuntimeError)
        else:
            assert answer == [named(Request(user))]
    assert len(model.groups) < TOGETHER / 1.5  # they are found by halving


def test_no_more_wait_than_may() -> None:
    model = Model()
    found = together(model, *(one(f"u{n}") for n in range(50)), pending=40)
    assert [isinstance(answer, BusyError) for answer in found] == [False] * 40 + [True] * 10
    assert sum(map(len, model.groups)) == 40


def test_what_waits_for_the_thread_has_a_limit_of_its_own() -> None:
    """Lone requests are answered however many batches wait, and the status says which is which."""

    async def fill(dispatcher: Dispatcher) -> None:
        asked = [asyncio.ensure_future(dispatcher.answers(one("wait0.2", explain=True)))]
        await asyncio.sleep(0.05)  # it has begun
        asked.append(asyncio.ensure_future(dispatcher.answers([*one("b")] * 2)))
        await asyncio.sleep(0)
        assert (dispatcher.pending, dispatcher.jobs, dispatcher.status) == (0, 2, "busy")
        with pytest.raises(BusyError):
            await dispatcher.answers(one("c", explain=True))
        with pytest.raises(BusyError):
            await dispatcher.call(list)
        assert await dispatcher.answers(one("quick")) == [named(Request("quick"))]
        await asyncio.gather(*asked)
        assert (dispatcher.pending, dispatcher.jobs, dispatcher.status) == (0, 0, "ok")
        lone = [asyncio.ensure_future(dispatcher.answers(one("d"))) for _ in range(2)]
        await asyncio.sleep(0)
        assert dispatcher.status == "full"
        await asyncio.gather(*lone)

    with dispatcher_of(Model(), pending=2, jobs=2) as dispatcher:
        asyncio.run(fill(dispatcher))


def test_jobs_that_nobody_waits_for_do_not_count_and_end_between_steps() -> None:
    """A job of 50 steps is given up at the next one, whether its client left or was told 504."""
    steps = []

    def long() -> None:
        for step in range(50):
            interruption_point()
            steps.append(step)
            time.sleep(0.02)

    async def leave(dispatcher: Dispatcher) -> None:
        gone = asyncio.ensure_future(dispatcher.call(long))
        waits = [asyncio.ensure_future(dispatcher.call(long)) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert dispatcher.jobs == 4
        for task in (gone, *waits):
            task.cancel()
        await asyncio.gather(gone, *waits, return_exceptions=True)
        assert dispatcher.jobs == 0
        began = time.monotonic()
        assert await dispatcher.call(lambda: "next") == "next"
        assert time.monotonic() - began < 1.0
        assert len(steps) < 40

    async def late(dispatcher: Dispatcher) -> None:
        found = await asyncio.gather(
            *(dispatcher.call(long) for _ in range(3)), return_exceptions=True
        )
        assert [type(one) for one in found] == [LateError] * 3
        assert dispatcher.jobs == 0

    with dispatcher_of(Model()) as dispatcher:
        asyncio.run(leave(dispatcher))
    steps.clear()
    with dispatcher_of(Model(), seconds=0.1) as dispatcher:
        asyncio.run(late(dispatcher))
    assert len(steps) < 40


def test_a_step_that_does_not_end_is_told_and_does_not_hold_up_the_end() -> None:
    free = threading.Event()

    async def ask(dispatcher: Dispatcher) -> None:
        with pytest.raises(LateError):
            await dispatcher.call(free.wait)
        assert (dispatcher.jobs, dispatcher.status) == (
            0,
            "busy",
        )  # it counts no longer, but the thread is not free

    dispatcher = Dispatcher(Model().answer, pending=9, jobs=9, seconds=0.1)
    asyncio.run(ask(dispatcher))
    began = time.monotonic()
    assert not dispatcher.stop(0.2)
    assert time.monotonic() - began < 2
    free.set()
    assert dispatcher.stop(5)


def test_what_comes_too_late_is_given_up_and_what_has_not_begun_is_dropped() -> None:
    model = Model()
    found = together(model, one("wait0.3", k=1), one("u", k=2), seconds=0.1)
    assert [type(answer) for answer in found] == [LateError, LateError]
    assert model.groups == [["wait0.3"]]
    model = Model()
    found = together(model, [*one("wait0.3")] * 2, [*one("u")] * 2, seconds=0.1)
    assert [type(answer) for answer in found] == [LateError, LateError]
    assert model.groups == [["wait0.3"] * 2]


def test_nothing_is_computed_for_those_who_are_gone() -> None:
    model = Model()

    async def leave(dispatcher: Dispatcher) -> None:
        gone = asyncio.ensure_future(dispatcher.answers(one("gone")))
        stays = asyncio.ensure_future(dispatcher.answers(one("stays")))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == [named(Request("stays"))]

    with dispatcher_of(model) as dispatcher:
        asyncio.run(leave(dispatcher))
    assert model.groups == [["stays"]]


def test_the_end_comes_after_what_waits() -> None:
    model = Model()

    async def end(dispatcher: Dispatcher) -> list[Answers]:
        asked = [dispatcher.answers(one(user, explain=True)) for user in ("wait0.1", "u", "v")]
        waiting = asyncio.gather(*asked)
        await asyncio.sleep(0.02)
        assert await asyncio.to_thread(dispatcher.stop, 10)
        return await waiting

    dispatcher = Dispatcher(model.answer, pending=9, jobs=9, seconds=30)
    found = asyncio.run(end(dispatcher))
    assert found == [[named(Request(user))] for user in ("wait0.1", "u", "v")]
