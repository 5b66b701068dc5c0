"""The one thread that computes: it takes what waits and scores it together."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pareto_rec.bundle.answers import Recommendation, Request
from pareto_rec.errors import BadRequestError

TOGETHER = 32  # requests scored in one go
T = TypeVar("T")

Answers = list[Recommendation]


class BusyError(Exception):
    """More waits already than the limit allows."""


class LateError(Exception):
    """The answer did not come in time."""


@dataclass(frozen=True)
class _Job:
    requests: Sequence[Request] | None  # None for anything else, which `call` does
    call: Callable[[], Any] | None = None
    future: Future[Any] = field(default_factory=Future)


class Desk:
    """Computes in a thread of its own, so that the server goes on reading and writing.

    One thread, because the encoder's tokenizer may not be shared, and because two of them would
    wait for each other; requests that came while it was busy are scored together, which costs less
    than one by one.
    """

    def __init__(
        self, answer: Callable[[Sequence[Request]], Answers], *, pending: int, seconds: float
    ) -> None:
        """Start the thread.

        Args:
            answer: Requests -> answers; called in the thread alone.
            pending: Jobs that may wait.
            seconds: Longest that a job may take, waiting included.
        """
        self._answer, self._most, self._seconds = answer, pending, seconds
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="desk", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Jobs that wait."""
        return self._jobs.qsize()

    async def answers(self, requests: Sequence[Request]) -> Answers:
        """Answers to requests.

        Raises:
            BadRequestError: If one of them cannot be answered.
            BusyError: If too much waits.
            LateError: If it takes too long; what has not begun is dropped.
        """
        found: Answers = await self._submit(_Job(requests))
        return found

    async def call(self, call: Callable[[], T]) -> T:
        """What `call` returns, computed between requests; raises what it raises, and as above."""
        found: T = await self._submit(_Job(None, call))
        return found

    async def _submit(self, job: _Job) -> Any:
        if self._jobs.qsize() >= self._most:
            raise BusyError
        self._jobs.put(job)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job.future), self._seconds)
        except TimeoutError:
            raise LateError from None

    def stop(self) -> None:
        """End the thread after what waits."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        import torch

        torch.set_num_threads(1)  # of this thread: the arithmetic of a request is too small to cut
        while (job := self._jobs.get()) is not None:
            group, more = [job], True
            while more and sum(len(one.requests or ()) for one in group) < TOGETHER:
                more = self._jobs.qsize() > 0
                following = self._jobs.get() if more else None
                if following is not None:
                    group.append(following)
                elif more:  # the end was asked for: do what is here first
                    self._jobs.put(None)
                    more = False
            self._do([one for one in group if one.future.set_running_or_notify_cancel()])

    def _do(self, group: Sequence[_Job]) -> None:
        asked = [job for job in group if job.requests is not None]
        for job in group:
            if job.call is not None:
                _settle(job, job.call)
        if len(asked) > 1:
            try:
                answers = self._answer([r for job in asked for r in job.requests or ()])
            except Exception:  # whose fault it was is found one by one
                pass
            else:
                for job in asked:
                    count = len(job.requests or ())
                    job.future.set_result(answers[:count])
                    answers = answers[count:]
                return
        for job in asked:
            requests = job.requests or ()
            _settle(job, lambda requests=requests: self._answer(requests))  # type: ignore[misc]


def _settle(job: _Job, call: Callable[[], Any]) -> None:
    try:
        job.future.set_result(call())
    except BadRequestError as error:
        job.future.set_exception(error)
    except Exception as error:
        job.future.set_exception(error)
