"""The routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from pareto_rec.bundle import Bundle, NewItem
from pareto_rec.bundle import Request as Wanted
from pareto_rec.serve.desk import Answers, Desk
from pareto_rec.serve.direct import RECOMMEND, Direct
from pareto_rec.serve.guard import Guard, logged
from pareto_rec.serve.limits import Limits
from pareto_rec.serve.problems import FORESEEN, told
from pareto_rec.serve.schemas import Added, Answer, Asked, FrontAnswer, Health, Items, Problem
from pareto_rec.serve.shelf import Shelf

_SAYS = {
    400: "The body is no JSON.",
    404: "Nothing is here.",
    405: "This address does not take this method.",
    408: "The body did not come in time.",
    413: "The body is too long.",
    422: "The request makes no sense; the line says what and where.",
    503: "Too much waits; try again in a second.",
    504: "The answer did not come in time.",
}


def _problems(*codes: int, **more: str) -> dict[int | str, dict[str, Any]]:
    said = {code: _SAYS[code] for code in codes} | {int(k[1:]): v for k, v in more.items()}
    return {code: {"model": Problem, "description": text} for code, text in said.items()}


PREPARING = 5.0  # seconds at most that the start takes longer for preparing known people
ASKING = _problems(400, 408, 413, 422, 503, 504)


def create_app(
    bundle: Bundle, limits: Limits | None = None, *, items: Path | None = None
) -> Callable[..., Any]:
    """The service as an ASGI application.

    Args:
        bundle: What is served.
        limits: How much is taken; None for the default ones.
        items: File of added items, shared with other processes; None to keep them in memory.

    Raises:
        BadRequestError: If the file cannot be read.
    """
    limits = limits or Limits()
    shelf = Shelf(bundle, items, limits.added)
    _warm(bundle)
    desk = _desk(shelf, limits)

    async def recommend(asked: Asked) -> Response:
        answers = [one.to_json() for one in await desk.answers(asked.requests())]
        return _json(answers[0] if asked.single else answers)

    app = _framework(bundle, desk)
    _add_lists(app, recommend)
    _add_routes(app, bundle, shelf, desk)
    _add_page(app)
    return Guard(Direct(app, recommend, _problem), limits)


def _desk(shelf: Shelf, limits: Limits) -> Desk:
    """Answers from the bundle as it stands when they are computed."""

    def answer(requests: Sequence[Wanted]) -> Answers:
        return shelf.bundle().recommend_many(requests)

    def at_once(requests: Sequence[Wanted]) -> Answers | None:
        current = shelf.current()
        return None if current is None else current.recommend_many(requests)

    return Desk(answer, at_once, pending=limits.pending, seconds=limits.seconds)


def _framework(bundle: Bundle, desk: Desk) -> FastAPI:
    """The application without routes, which begins and ends with the desk."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.start()
        yield
        await asyncio.to_thread(desk.stop)

    app = FastAPI(
        title=f"pareto_rec: {bundle.name}",
        version=bundle.version or "0",
        summary="Recommendations from any operating point of a Pareto front.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _say_problems(app)
    return app


def _warm(bundle: Bundle) -> None:
    """Do once what would make requests wait: load the encoder, call the kernels, prepare people."""
    first = bundle.parts.items.ids[:1]
    bundle.recommend(history=first, k=1)
    if bundle.form == "fp32":
        bundle.recommend(history=[NewItem("", "a text")], k=1)
    bundle.prepared.fill(bundle.about.default, PREPARING)


def _add_lists(app: FastAPI, recommended: Callable[[Asked], Awaitable[Response]]) -> None:
    @app.post(RECOMMEND, responses={200: {"model": Answer | list[Answer]}, **ASKING})
    async def recommend(asked: Asked) -> Response:
        """Recommend: one request gives one answer, a list of them a list of answers."""
        return await recommended(asked)


def _add_routes(app: FastAPI, bundle: Bundle, shelf: Shelf, desk: Desk) -> None:
    full = _problems(c409="The service has as many added items as it takes.")

    @app.post("/items", responses={200: {"model": Added}, **ASKING, **full})
    async def items(asked: Items) -> Response:
        """Add items from their text, or change known ones."""
        new = [one.new() for one in asked.items]
        added, changed = await desk.call(lambda: shelf.add(new))
        size = len(shelf.known.parts.items)
        return _json({"added": added, "changed": changed, "items": size})

    @app.get("/front", responses={200: {"model": FrontAnswer}})
    async def front() -> Response:
        """The operating points, their objectives and intervals; ids go into `point`."""
        return front_content

    front_content = _json(_front(bundle))

    @app.get("/health", responses={200: {"model": Health}})
    async def health() -> Response:
        """Whether the service answers, and what it serves."""
        parts = shelf.known.parts
        return _json(
            {
                "status": "ok",
                "name": bundle.name,
                "version": bundle.version,
                "form": bundle.form,
                "users": len(parts.users),
                "items": len(parts.items),
                "added": shelf.added,
                "pending": desk.pending,
            }
        )


def _add_page(app: FastAPI) -> None:
    page = files("pareto_rec.serve").joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page)


def _front(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "version": bundle.version,
        "default": bundle.about.default,
        "objectives": [one.model_dump() for one in bundle.about.objectives],
        "points": bundle.front(),
    }


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(content, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")


def _refusal(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": " ".join(reason.split())}, status, headers)


def _problem(error: Exception) -> Response:
    found = told(error)
    return _refusal(found.status, found.reason, found.headers)


def _say_problems(app: FastAPI) -> None:
    """One line of JSON for whatever is wrong."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        if found[0]["type"] == "json_invalid":
            return _refusal(400, f"the body is no JSON: {found[0]['ctx']['error']}")
        return _refusal(422, "; ".join(_line(one) for one in found[:3]))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        headers = dict(error.headers) if error.headers else None
        return _refusal(error.status_code, str(error.detail), headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, _: Exception) -> Response:
        return _refusal(500, logged(request.scope))

    async def foreseen(_: Request, error: Exception) -> Response:
        return _problem(error)

    for kind in FORESEEN:
        app.add_exception_handler(kind, foreseen)


# what FastAPI and pydantic add to the place of an error: no client wrote it
_NOT_KEYS = {"body", "single", "batch", "constrained-str", "Item"}


def _line(error: dict[str, Any]) -> str:
    """Where and what, without the input."""
    where = ".".join(str(part) for part in error["loc"] if part not in _NOT_KEYS)
    says = "unknown key" if error["type"] == "extra_forbidden" else str(error["msg"])
    return f"{where}: {says}" if where else says
