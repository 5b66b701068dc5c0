"""The short way of POST /recommend, past the framework."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from pareto_rec.serve.guard import App, Receive, Scope, Send, replayed
from pareto_rec.serve.problems import FORESEEN
from pareto_rec.serve.schemas import Asked

RECOMMEND = "/recommend"


class Direct:
    """Validates and answers requests for lists that are of the right form, and no others.

    Middleware, routing and dependencies cost as much as the arithmetic of a small part of a list,
    and more where caches are cold. Whatever is unusual, above all a body that makes no sense, takes
    the framework's way, whose route says what is wrong with it and describes both ways.
    """

    def __init__(
        self,
        app: App,
        recommend: Callable[[Asked], Awaitable[Response]],
        problem: Callable[[Exception], Response],
    ) -> None:
        """Stand before an application.

        Args:
            app: The framework's way.
            recommend: What its route does.
            problem: The answer to one of the `FORESEEN` errors.
        """
        self.app, self.recommend, self.problem = app, recommend, problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whose body is one message (see `Guard`)."""
        if not _for_a_list(scope):
            await self.app(scope, receive, send)
            return
        body = (await receive())["body"]
        asked = _understood(body)
        if asked is None:
            await self.app(scope, replayed(body, receive), send)
            return
        try:
            response = await self.recommend(asked)
        except FORESEEN as error:
            response = self.problem(error)
        await response(scope, receive, send)


def _for_a_list(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["path"] != RECOMMEND or scope["method"] != "POST":
        return False
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return len(kinds) == 1 and kinds[0].partition(b";")[0].strip().lower() == b"application/json"


def _understood(body: bytes) -> Asked | None:
    """The request as the framework would read it; None where it would refuse it."""
    try:
        return Asked.model_validate(json.loads(body))
    except (ValueError, RecursionError):
        return None
