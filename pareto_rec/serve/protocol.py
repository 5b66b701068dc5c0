"""HTTP protocol with limits on slow clients and on connections per address.

Uvicorn bounds neither the time that headers take nor their length (its issue 157), and refuses new
connections where old ones have done nothing but stay.
"""

from __future__ import annotations

import json
import select
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pareto_rec.serve.limits import Limits

TURNS = 3  # of the event loop, in which it makes new connections and reads what has arrived


class LimitedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits on headers, on slow readers and on connections.

    `check` has to be called about once a second.
    """

    def __init__(self, *options: Any, limits: Limits, **named: Any) -> None:  # as uvicorn has them
        super().__init__(*options, **named)
        self.limits = limits
        self.leaving = False  # it has been closed, or is about to be
        self._in_headers = True
        self._header_bytes = 0
        self._headers_due: float | None = None  # None: no headers are awaited
        self._unread_since: float | None = None  # None: the client has read everything
        self.served = 0  # requests whose headers were read
        self.since = self.loop.time()  # when it began, or its latest request but the first

    def connection_made(self, transport: Any) -> None:  # uvicorn's type is its own
        """Begin; see that there is room as soon as what clients have sent so far is read."""
        super().connection_made(transport)
        self._headers_due = self.loop.time() + self.limits.header_seconds
        if len(self.connections) > min(self.limits.address_connections, self.limits.connections):
            self._make_room(TURNS)

    def _make_room(self, turns: int) -> None:
        """End a connection where there are too many, so many turns of the event loop later.

        A busy loop takes several new connections at once, before it reads from any of them: whoever
        has sent a whole request, or has gone, is not one that keeps others waiting.
        """
        if turns:
            self.loop.call_soon(self._make_room, turns - 1)
            return
        crowd = None if self.leaving else crowded(self.connections, self, self.limits)
        if crowd is None:
            return
        waiting = (
            connection for connection in crowd if connection.waits and connection is not self
        )
        slowest = min(waiting, key=_patience, default=None)
        if slowest is None:
            self.say_and_close(HTTPStatus.SERVICE_UNAVAILABLE, "too many open connections")
        else:
            slowest.say_and_close(HTTPStatus.REQUEST_TIMEOUT, "others needed the connection")

    @property
    def waits(self) -> bool:
        """Whether the client has to do something next: to send, or to go on sending."""
        return not self.leaving and (self.idle or self.cycle.more_body)

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered, its headers apart."""
        cycle: RequestResponseCycle | None = self.cycle  # as it is, and not as it is declared
        return cycle is None or cycle.response_complete

    @property
    def half_sent(self) -> bool:
        """Whether the client is in the middle of a request's headers."""
        return not self.leaving and self._header_bytes > 0 and self.idle

    @property
    def begun(self) -> bool:
        """Whether a part of a request was read, or the first is still awaited."""
        return self.served == 0 or self._in_headers or not self.idle

    def data_received(self, data: bytes) -> None:
        """Read, within the limit of the headers."""
        if self.leaving:
            return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_headers and not self.idle:
            return
        if self._headers_due is None:
            self._headers_due = self.loop.time() + self.limits.header_seconds
        self._header_bytes += len(data)
        if self._header_bytes > self.limits.header_bytes:
            reason = f"the headers are longer than {self.limits.header_bytes} bytes"
            self.say_and_close(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason)

    def on_message_begin(self) -> None:
        """Note that a request begins; the first has been awaited since the connection began.

        Else whoever has connected and is about to send would seem to wait for longer than those
        that have sent half of a request since.
        """
        super().on_message_begin()
        self._in_headers = True
        if self.served:
            self.since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and ignore a trailer."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._in_headers, self._headers_due, self._header_bytes = False, None, 0
        self.served += 1
        super().on_headers_complete()

    def shutdown(self) -> None:
        """Close, but answer what is being answered, or has arrived and was not read yet, before."""
        if not (self.idle and self._arrived()):
            super().shutdown()

    def _arrived(self) -> bool:
        """Return whether there is something to read: a request, or the client's end."""
        if self.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the form of all other refusals."""
        self.say_and_close(HTTPStatus.BAD_REQUEST, msg.rstrip(".").lower())

    def say_and_close(self, status: HTTPStatus, reason: str) -> None:
        """Say why the connection ends, if no answer has begun, and end it."""
        self.leaving = True
        if self.transport.is_closing():
            return
        if self.idle or not self.cycle.response_started:
            self.transport.write(_refusal(status, reason))
        if not self.idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def check(self, now: float) -> None:
        """End the connection if its client takes too long to send headers or to read answers."""
        late = self._headers_due is not None and now > self._headers_due
        if late and self.idle and not self._arrived():
            if self.served == 0 and self._header_bytes == 0:
                self.transport.close()  # nothing was asked, so nothing is answered
            else:
                reason = f"no whole headers within {self.limits.header_seconds:g} seconds"
                self.say_and_close(HTTPStatus.REQUEST_TIMEOUT, reason)
        if self.transport.get_write_buffer_size() == 0:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > self.limits.write_seconds:
            self.transport.abort()


def crowded(
    connections: Iterable[Any],  # uvicorn's set holds protocols of every kind
    newest: LimitedProtocol,
    limits: Limits,
) -> Sequence[LimitedProtocol] | None:
    """Return connections of which one must end: those of one address, or all; else None."""
    everyone = [
        connection
        for connection in connections
        if isinstance(connection, LimitedProtocol) and not connection.leaving
    ]
    if len(everyone) <= min(limits.address_connections, limits.connections):
        return None
    address = newest.client and newest.client[0]
    neighbours = [
        connection
        for connection in everyone
        if (connection.client and connection.client[0]) == address
    ]
    if len(neighbours) > limits.address_connections:
        return neighbours
    return everyone if len(everyone) > limits.connections else None


def _patience(protocol: LimitedProtocol) -> tuple[bool, float]:
    """Order connections to end: the oldest half-sent request first, then idle ones."""
    return not protocol.begun, protocol.since


def _refusal(status: HTTPStatus, reason: str) -> bytes:
    content = json.dumps({"error": reason}).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + content
