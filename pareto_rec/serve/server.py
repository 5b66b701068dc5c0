"""Server: uvicorn's with limits on connections and an end that resets none of them."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import uvicorn

from pareto_rec.serve.limits import Limits
from pareto_rec.serve.protocol import LimitedProtocol
from pareto_rec.serve.state import ServiceState

TICKS = 10  # of the server's loop in a second
LATECOMERS = 0.5  # seconds for connections, and for requests on them, that come just at the end


class Server(uvicorn.Server):
    """A server that looks after its connections, and ends step by step.

    Where the service ends: for `drain_seconds` it goes on as before, but says that it ends: /health
    is 503, and every answer closes its connection. Then the system lets no new connection in, while
    the server takes those that it had let in; closed at once, the socket would reset them. Then it
    closes the socket, answers on the connections it has, waits `stop_seconds` for what is being
    answered, and closes them.

    Where other processes go on with the same socket, it leaves new connections to them from the
    start, and closes its own as above.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        limits: Limits,
        state: ServiceState,
        *,
        ready: Callable[[], None] = lambda: None,
        beat: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        """Create a server that does not listen yet.

        Args:
            app: An ASGI application.
            limits: How much is taken.
            state: What the application knows of the server.
            ready: Called once requests are answered.
            beat: Called each second, as long as the event loop turns.
            options: Of uvicorn, for tests.
        """
        protocol = partial(LimitedProtocol, limits=limits)
        settings = {
            "http": protocol,
            "ws": "none",
            "log_level": "warning",
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,
            "timeout_graceful_shutdown": max(1, round(limits.stop_seconds)),
            "lifespan": "on",
        }
        super().__init__(uvicorn.Config(app, **{**settings, **options}))
        self.limits, self.state = limits, state
        self._ready, self._beat = ready, beat

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets=sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Run ten times a second."""
        if counter % TICKS == 0:
            self._beat()
            self._check_connections()
        return await super().on_tick(counter) or self.state.asked is not None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process, which sets `state.asked`."""
        yield

    def _check_connections(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, LimitedProtocol):
                connection.check(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End step by step."""
        drain = self.limits.drain_seconds
        closing = (b"connection", b"close")
        self.server_state.default_headers = [*self.server_state.default_headers, closing]
        if self.state.asked == "leave":
            self._close_sockets()
            await self._go_on(drain, until=self._unconnected)
        else:
            self.state.stopping = True
            await self._go_on(drain)
            for server in self.servers:
                for listener in server.sockets:
                    let_nobody_in(listener)
            await self._go_on(min(LATECOMERS, drain))
            self._close_sockets()
        await self._go_on(LATECOMERS, until=self._unconnected)
        await self._go_on(LATECOMERS, until=self._nothing_read)
        await super().shutdown(sockets=sockets)

    def _close_sockets(self) -> None:
        for server in self.servers:
            server.close()

    def _unconnected(self) -> bool:
        return not self.server_state.connections

    def _nothing_read(self) -> bool:
        """Return whether no client is in the middle of a request's headers."""
        return not any(
            isinstance(connection, LimitedProtocol) and connection.half_sent
            for connection in self.server_state.connections
        )

    async def _go_on(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Answer for a while, or until something is so."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while loop.time() < ends and not until():
            self._check_connections()
            self._beat()
            await asyncio.sleep(0.05)


def let_nobody_in(listener: socket.socket) -> bool:
    """Have the system ignore whoever wants to connect, without closing the socket.

    Closing it resets connections that the system has made and no process has taken yet, as well as
    those whose last packet is under way. So the first packet of any further ones (SYN) is dropped,
    which clients repeat after a second: then they are refused.

    Returns:
        Whether it does; only Linux can.
    """
    if sys.platform != "linux":
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    filtered = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, filtered)
        return True
    return False


_ATTACH_FILTER = 26  # SO_ATTACH_FILTER of Linux, see socket(7)
_NO_SYN = (  # a classic BPF program over the TCP header: code, jump if true, jump if false, operand
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x45, 0, 1, 0x02),  # SYN?
    (0x06, 0, 0, 0),  # yes: drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # no: keep it
)
