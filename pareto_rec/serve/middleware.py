"""Middleware before the routes: bodies are read completely, in time and within the limit."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from pareto_rec.serve.limits import LARGE, Limits
from pareto_rec.serve.schemas import too_much

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REST = 4  # times as long as a large body took to read, no other is read

log = logging.getLogger("pareto_rec.serve")


def logged(scope: Scope) -> str:
    """Log the exception at hand; return the message for the client."""
    number = secrets.token_hex(4)
    log.exception("error %s in %s %s", number, scope["method"], scope["path"])
    return f"internal error {number}; the log says more"


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class _GoneError(Exception):
    """The client has closed the connection."""


class RequestMiddleware:
    """An ASGI application around another; every error inside becomes one line for the client.

    What was not foreseen is logged with its traceback under a number that the response contains.
    Work for clients that have closed their connections is given up.
    """

    def __init__(self, app: App, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self._large = asyncio.Lock()
        self._large_waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's message."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            body = await self._body(scope, receive)
            if len(body) > LARGE:
                await self._look_at(body)
            await self._unless_gone(scope, body, receive, sending)
        except _GoneError:
            return
        except asyncio.CancelledError:  # the server has no more time
            if not begun:
                await refuse(send, 503, "the service has ended before the answer was ready")
        except _RefusedError as error:
            await refuse(send, error.status, error.reason)
        except Exception:
            if not begun:  # else it is logged where the response began
                await refuse(send, 500, logged(scope))

    async def _unless_gone(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the application for as long as the client is there."""
        if not body:  # what has none takes no time
            await self.app(scope, _replayed(body, receive), send)
            return
        work = asyncio.ensure_future(self.app(scope, _replayed(body, receive), send))
        watch = asyncio.ensure_future(_closed(receive))
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise _GoneError
            await work
        finally:
            watch.cancel()
            work.cancel()

    async def _look_at(self, body: bytes) -> None:
        """Refuse a large body that asks for too much, at little cost to everybody else.

        To read it holds up the event loop for milliseconds. So one is read at a time, and no other
        for a while, in which small requests are answered.
        """
        if self._large_waiting >= self.limits.large:
            raise _RefusedError(503, "too many large bodies wait; try again")
        self._large_waiting += 1
        try:
            async with asyncio.timeout(self.limits.seconds):
                await self._large.acquire()
            try:
                began = time.perf_counter()
                problem = _too_much(body)
                await asyncio.sleep(REST * (time.perf_counter() - began))
            finally:
                self._large.release()
        except TimeoutError:  # while others were read, not of its own rest
            raise _RefusedError(503, "too many large bodies wait; try again") from None
        finally:
            self._large_waiting -= 1
        if problem is not None:
            raise _RefusedError(422, problem)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        most = self.limits.body_bytes
        too_long = _RefusedError(413, f"the body is longer than {most} bytes")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise too_long
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(self.limits.seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    part = message.get("body", b"")
                    size += len(part)
                    if size > most:
                        raise too_long
                    parts.append(part)
                    more = message.get("more_body", False)
        except TimeoutError:
            reason = f"the body did not come within {self.limits.seconds:g} seconds"
            raise _RefusedError(408, reason) from None
        return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return the body in one message, then what the connection says."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _too_much(body: bytes) -> str | None:
    try:
        return too_much(json.loads(body))
    except (ValueError, RecursionError):
        return None  # the route says what is wrong with it


async def _closed(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def refuse(
    send: Send, status: int, reason: str, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Answer with a problem and close the connection, as what was not read is of no use."""
    content = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
