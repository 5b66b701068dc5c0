"""Where answers are computed: in the event loop what is quick, in a thread what takes longer."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pareto_rec.bundle.answers import Recommendation, Request

TOGETHER = 32  # lists scored in one turn of the loop
T = TypeVar("T")

Answers = list[Recommendation]


class BusyError(Exception):
    """More waits already than the limit allows."""


class LateError(Exception):
    """The answer did not come in time."""


@dataclass(frozen=True)
class _Waiting:
    """A request that the next turns of the loop answer; None says that the thread has to."""

    request: Request
    future: asyncio.Future[Recommendation | None]
    until: float


@dataclass(frozen=True)
class _Job:
    call: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class Desk:
    """Answers quick requests in the event loop, and everything else in a thread of its own.

    A single list costs a few milliseconds of arithmetic; to hand it to a thread and back wakes a
    sleeping processor twice and doubles what a lone request waits. So it is scored where it was
    read, together with those of its kind that were read in the same turn. The loop is held up by
    one kind of at most `TOGETHER` lists at a time, which would have to be scored before anything
    that came later anyway; between two of them it reads and writes.

    What may take longer, batches, explanations, and texts that have to be encoded, goes to the
    thread. There is one, because the encoder's tokenizer may not be shared.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Request]], Answers],
        at_once: Callable[[Sequence[Request]], Answers | None],
        *,
        pending: int,
        seconds: float,
    ) -> None:
        """Start the thread.

        Args:
            answer: Requests -> answers; called in the thread alone.
            at_once: As `answer`, for requests without texts; called in the event loop. None where
                the thread has something to do first.
            pending: Requests that may wait.
            seconds: Longest that a request may take, waiting included.
        """
        self._answer, self._at_once, self._most, self._seconds = answer, at_once, pending, seconds
        # by kind; a turn of the loop is due exactly while there are any
        self._waiting: dict[Hashable, list[_Waiting]] = {}
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="desk", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Requests that wait."""
        return sum(map(len, self._waiting.values())) + self._jobs.qsize()

    def start(self) -> None:
        """Prepare the thread that it is called in, the event loop's, for scoring."""
        _one_thread()

    async def answers(self, requests: Sequence[Request]) -> Answers:
        """Answers to requests.

        Raises:
            BadRequestError: If one of them cannot be answered.
            BusyError: If too much waits.
            LateError: If it takes too long; what has not begun is dropped.
        """
        until = self._admit()
        if _quick(requests):
            found = await self._in_turn(requests[0], until)
            if found is not None:
                return [found]
        return await self._in_thread(lambda: self._answer(requests), until)

    async def call(self, call: Callable[[], T]) -> T:
        """What `call` returns, computed in the thread; raises what it raises, and as above."""
        return await self._in_thread(call, self._admit())

    def _admit(self) -> float:
        """Until when a request that comes now must be answered."""
        if self.pending >= self._most:
            raise BusyError
        return time.monotonic() + self._seconds

    async def _in_turn(self, request: Request, until: float) -> Recommendation | None:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future(), until)
        if not self._waiting:  # what else has arrived by now is read before
            loop.call_soon(self._turn)
        self._waiting.setdefault(_kind(request), []).append(waiting)
        return await waiting.future

    async def _in_thread(self, call: Callable[[], T], until: float) -> T:
        job = _Job(call)
        self._jobs.put(job)
        left = until - time.monotonic()
        try:
            found: T = await asyncio.wait_for(asyncio.wrap_future(job.future), left)
        except TimeoutError:
            raise LateError from None
        return found

    def _turn(self) -> None:
        """Answer the kind that has waited longest."""
        kind = next(iter(self._waiting))
        waiting = self._waiting.pop(kind)
        if len(waiting) > TOGETHER:
            self._waiting[kind] = waiting[TOGETHER:]  # behind the others: each kind has its turn
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        now = time.monotonic()
        group = []
        for one in waiting[:TOGETHER]:
            if one.until < now:
                _late(one)
            elif not one.future.done():  # else nobody waits for it any more
                group.append(one)
        if group:
            self._settle(group)

    def _settle(self, group: Sequence[_Waiting]) -> None:
        try:
            found = self._at_once([one.request for one in group])
        except Exception as error:
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            half = len(group) // 2  # whose fault it was is found by halving
            self._settle(group[:half])
            self._settle(group[half:])
            return
        answers: Sequence[Recommendation | None] = [None] * len(group) if found is None else found
        now = time.monotonic()  # not the loop's time, which may stand still while it computes
        for one, answer in zip(group, answers, strict=True):
            if one.until < now:
                _late(one)
            else:
                one.future.set_result(answer)

    def stop(self) -> None:
        """End the thread after what waits for it."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        _one_thread()
        while (job := self._jobs.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                try:
                    job.future.set_result(job.call())
                except Exception as error:
                    job.future.set_exception(error)


def _one_thread() -> None:
    """The arithmetic of a request is too small to cut; the setting is that of a thread."""
    import torch

    torch.set_num_threads(1)


def _quick(requests: Sequence[Request]) -> bool:
    """Whether it is one list without texts and explanations."""
    if len(requests) != 1:
        return False
    [one] = requests
    return not one.explain and all(isinstance(item, str) for item in one.history or ())


def _kind(one: Request) -> Hashable:
    """What lists that are scored together have in common."""
    return one.k, one.point, None if one.prefer is None else tuple(sorted(one.prefer.items()))


def _late(one: _Waiting) -> None:
    if not one.future.done():
        one.future.set_exception(LateError())
