"""Server: uvicorn's with limits on connections and an end that resets none of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

from pareto_rec.serve.limits import Limits
from pareto_rec.serve.protocol import LimitedProtocol
from pareto_rec.serve.state import ServiceState

TICKS = 10  # of the server's loop in a second
LATECOMERS = 0.5  # seconds for requests on connections that were taken just before the end


class Server(uvicorn.Server):
    """A server that looks after its connections, and ends in three steps.

    First it goes on answering for `drain_seconds`, but says that it ends: /health is 503, and every
    answer closes its connection. Then it takes no new connections, and answers those it has taken.
    At last it waits `stop_seconds` for what is being answered, and closes.
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
        return await super().on_tick(counter)

    def _check_connections(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, LimitedProtocol):
                connection.check(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in three steps."""
        self.state.stopping = True
        closing = (b"connection", b"close")
        self.server_state.default_headers = [*self.server_state.default_headers, closing]
        await self._go_on(self.limits.drain_seconds, to_the_end=True)
        for server in self.servers:
            server.close()
        await self._go_on(LATECOMERS, to_the_end=False)
        await super().shutdown(sockets=sockets)

    async def _go_on(self, seconds: float, *, to_the_end: bool) -> None:
        """Answer for a while, or until no connection is open."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until and not self.force_exit:
            if not to_the_end and not self.server_state.connections:
                return
            self._check_connections()
            self._beat()
            await asyncio.sleep(0.05)
