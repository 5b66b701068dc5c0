"""Dispatcher of requests: quick ones in the event loop, longer ones in a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pareto_rec.bundle.interruption import interruptible
from pareto_rec.bundle.types import Recommendation, Request

TOGETHER = 32  # lists scored in one turn of the loop
GRACE = 0.5  # seconds in which a step of the work ends that is to end
T = TypeVar("T")

Answers = list[Recommendation]


class BusyError(Exception):
    """Error: the queue is longer than the limit allows."""


class LateError(Exception):
    """Error: the answer did not come in time."""


@dataclass(frozen=True)
class _Waiting:
    """A request that the next turns of the loop answer."""

    request: Request
    future: asyncio.Future[Recommendation]
    until: float


class _Job:
    """Work of the thread, cancelled once no client waits for it."""

    def __init__(self, call: Callable[[], Any], until: float) -> None:
        self.call, self.until = call, until
        self.future: Future[Any] = Future()
        self.abandoned = False

    def check(self) -> None:
        """End the work between its steps.

        Raises:
            LateError: If no client waits for it.
        """
        if self.abandoned or time.monotonic() > self.until:
            raise LateError

    def run(self) -> None:
        """Run the work, unless no client waits for it."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.check()
            with interruptible(self.check):
                result = self.call()
        except Exception as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Dispatcher:
    """Dispatcher: quick requests in the event loop, everything else in a thread of its own.

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
        *,
        pending: int,
        jobs: int,
        seconds: float,
    ) -> None:
        """Start the thread.

        Args:
            answer: Requests -> answers; called in the thread, and in the event loop for lone
                requests without texts.
            pending: Requests that may wait for the event loop.
            jobs: Requests that may wait for the thread or be worked on by it.
            seconds: Longest that a request may take, waiting included.
        """
        self._answer, self._seconds = answer, seconds
        self._most_pending, self._most_jobs = pending, jobs
        # by kind; a turn of the loop is due exactly while there are any
        self._waiting: dict[Hashable, list[_Waiting]] = {}
        self._jobs: deque[_Job] = deque()
        self._job: _Job | None = None  # that is worked on
        self._changed = threading.Condition()  # guards the two above, and the next
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="dispatcher", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Requests that wait for the event loop and whose clients still wait."""
        return sum(
            not waiting.future.done() for group in self._waiting.values() for waiting in group
        )

    @property
    def jobs(self) -> int:
        """Requests that wait for the thread or are worked on, and whose clients still wait."""
        with self._changed:
            current = self._job
            return len(self._jobs) + (current is not None and not current.abandoned)

    @property
    def status(self) -> Literal["ok", "busy", "full"]:
        """Whether requests are taken: all, lone lists alone, or none."""
        if self.pending >= self._most_pending:
            return "full"
        return "busy" if self.jobs >= self._most_jobs or self._overdue() else "ok"

    def _overdue(self) -> bool:
        """Return whether the thread is in a long step of a job that no client waits for."""
        current = self._job
        return current is not None and time.monotonic() > current.until

    def start(self) -> None:
        """Prepare the thread that it is called in, the event loop's, for scoring."""
        _one_thread()

    async def answers(self, requests: Sequence[Request]) -> Answers:
        """Return answers to requests.

        Raises:
            BadRequestError: If one of them cannot be answered.
            BusyError: If too much waits.
            LateError: If it takes too long; what has not begun is dropped.
        """
        until = time.monotonic() + self._seconds
        if _quick(requests):
            return [await self._in_turn(requests[0], until)]
        return await self._in_thread(lambda: self._answer(requests), until)

    async def call(self, call: Callable[[], T]) -> T:
        """Return the result of `call`, computed in the thread; raises its errors, and as above."""
        return await self._in_thread(call, time.monotonic() + self._seconds)

    async def _in_turn(self, request: Request, until: float) -> Recommendation:
        if self.pending >= self._most_pending:
            raise BusyError
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future(), until)
        if not self._waiting:  # what else has arrived by now is read before
            loop.call_soon(self._turn)
        self._waiting.setdefault(_kind(request), []).append(waiting)
        return await waiting.future

    async def _in_thread(self, call: Callable[[], T], until: float) -> T:
        if self.jobs >= self._most_jobs:
            raise BusyError
        job = _Job(call, until)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        left = until - time.monotonic()
        try:
            result: T = await asyncio.wait_for(asyncio.wrap_future(job.future), left)
        except TimeoutError:
            raise LateError from None
        finally:
            self._abandon(job)
        return result

    def _abandon(self, job: _Job) -> None:
        """Cancel a job that no client waits for: it ends at its next step."""
        job.abandoned = True
        with self._changed, suppress(ValueError):
            self._jobs.remove(job)

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
        for request in waiting[:TOGETHER]:
            if request.until < now:
                _late(request)
            elif not request.future.done():  # else no client waits for it
                group.append(request)
        if group:
            self._settle(group)

    def _settle(self, group: Sequence[_Waiting]) -> None:
        try:
            answers = self._answer([waiting.request for waiting in group])
        except Exception as error:
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            half = len(group) // 2  # the request at fault is found by halving
            self._settle(group[:half])
            self._settle(group[half:])
            return
        now = time.monotonic()  # not the loop's time, which may stand still while it computes
        for waiting, answer in zip(group, answers, strict=True):
            if waiting.until < now:
                _late(waiting)
            else:
                waiting.future.set_result(answer)

    def stop(self, seconds: float) -> bool:
        """End the thread after what waits for it, or after so many seconds.

        Returns:
            Whether it has ended; if not, one step of its work takes longer.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._stopping = True
            for job in (*self._jobs, *([self._job] if self._job else [])):
                job.until = min(job.until, until)
            self._changed.notify()
        self._thread.join(seconds + GRACE)
        return not self._thread.is_alive()

    def _work(self) -> None:
        _one_thread()
        while (job := self._next()) is not None:
            job.run()

    def _next(self) -> _Job | None:
        with self._changed:
            self._job = None
            self._changed.wait_for(lambda: self._jobs or self._stopping)
            self._job = self._jobs.popleft() if self._jobs else None
            return self._job


def _one_thread() -> None:
    """Set one thread for this thread: a request's arithmetic is too small to split."""
    import torch

    torch.set_num_threads(1)


def _quick(requests: Sequence[Request]) -> bool:
    """Return whether it is one list without texts and explanations."""
    if len(requests) != 1:
        return False
    [request] = requests
    return not request.explain and all(isinstance(item, str) for item in request.history or ())


def _kind(request: Request) -> Hashable:
    """Return what lists that are scored together have in common."""
    return (
        request.k,
        request.point,
        None if request.prefer is None else tuple(sorted(request.prefer.items())),
    )


def _late(waiting: _Waiting) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(LateError())
