"""Access rules: the host names of the service, and the token."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pareto_rec.core.errors import BadRequestError
from pareto_rec.serve.middleware import App, Receive, Scope, Send, refuse

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
EVERY_HOST = "*"
HEALTH = "/health"  # answered in brief without the token, as what watches a service has none
SHORTEST_TOKEN, LONGEST_TOKEN = 16, 4096
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(:\d+)?")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Access:
    """Access rules.

    Attributes:
        hosts: Names in lower case that a request may give as its host; ``"*"`` allows all.
        token: What has to be sent as bearer token; None: nothing.
    """

    hosts: frozenset[str] = frozenset(LOOPBACK)
    token: str | None = field(default=None, repr=False)


def access(host: str, allowed: Iterable[str] = (), token_file: Path | None = None) -> Access:
    """Return the access rules of a service that listens at an address.

    Args:
        host: The address.
        allowed: Further names of the service.
        token_file: File that holds the token; None for no token.

    Raises:
        BadRequestError: If a name is not one, or the file does not hold a token.
    """
    own = f"[{host}]" if ":" in host else host
    names = [*allowed, *([own] if _HOST.fullmatch(own.lower()) else [])]
    for name in names:
        if name != EVERY_HOST and _name(name) != name.lower():
            raise BadRequestError(
                f"--allowed-host {name!r} is not the name of a host; give it without scheme, port "
                "and path, as in recommend.example.com"
            )
    token = None if token_file is None else _token(token_file)
    return Access(frozenset((*LOOPBACK, *(name.lower() for name in names))), token)


def _token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_TOKEN + 2)
    except OSError as error:
        raise BadRequestError(f"--token-file {path} cannot be read: {error.strerror}") from None
    token = content.decode("latin-1").strip()
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise BadRequestError(
            f"--token-file {path} must hold one token of {SHORTEST_TOKEN} to {LONGEST_TOKEN} "
            "visible ASCII characters without spaces"
        )
    return token


def _name(header: str) -> str | None:
    """Return the host of a Host header; None where it is not well-formed."""
    match = _HOST.fullmatch(header.lower())
    return match[1] if match else None


class AccessMiddleware:
    """Middleware that refuses requests to other names, and those without the token.

    A page in a browser can make its own name stand for the address of this service (DNS rebinding),
    and then read what it answers; but its requests go on giving that name as their host.
    """

    def __init__(self, app: App, rules: Access) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if (problem := self._host_problem(scope)) is not None:
            await refuse(send, *problem)
            return
        scope["trusted"] = self._has_token(scope)
        if scope["trusted"] or (scope["path"] == HEALTH and scope["method"] in ("GET", "HEAD")):
            await self.app(scope, receive, send)
            return
        headers = [(b"www-authenticate", b"Bearer")]
        await refuse(send, 401, "send the token: Authorization: Bearer TOKEN", headers)

    def _host_problem(self, scope: Scope) -> tuple[int, str] | None:
        if EVERY_HOST in self.rules.hosts:
            return None
        given = [value for name, value in scope["headers"] if name == b"host"]
        name = _name(given[0].decode("latin-1")) if len(given) == 1 else None
        if name is None:
            return 400, "send one well-formed Host header"
        own = scope.get("server")  # the address that the connection came to
        if name in self.rules.hosts or (own and name.strip("[]") == own[0]):
            return None
        return 421, f'"{name}" is not a name of this service; allow it with --allowed-host {name}'

    def _has_token(self, scope: Scope) -> bool:
        if self.rules.token is None:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        kind, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        same = hmac.compare_digest(token.strip(), self.rules.token.encode())
        return same and kind.lower() == b"bearer"
