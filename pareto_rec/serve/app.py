"""Routes of the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from pareto_rec.bundle import Bundle, NewItem
from pareto_rec.bundle import Request as Wanted
from pareto_rec.serve.access import Access, AccessMiddleware
from pareto_rec.serve.dispatcher import Answers, Dispatcher
from pareto_rec.serve.errors import FORESEEN, to_problem
from pareto_rec.serve.limits import Limits
from pareto_rec.serve.live_bundle import LiveBundle
from pareto_rec.serve.middleware import RequestMiddleware, logged
from pareto_rec.serve.schemas import (
    Added,
    Answer,
    FrontAnswer,
    Health,
    Items,
    Liveness,
    Problem,
    RecommendBody,
)
from pareto_rec.serve.state import ServiceState

_SAYS = {
    400: "The body is not JSON, or the Host header is missing.",
    401: "The token is missing or wrong.",
    403: "The service does not take items.",
    404: "Nothing is here.",
    405: "This address does not take this method.",
    408: "Headers or body did not come in time.",
    413: "The body is too long.",
    415: "The body is not said to be JSON.",
    421: "The service does not go by this name.",
    422: "The request makes no sense; the line says what and where.",
    503: "Too much waits, or the service is about to end; try again in a second.",
    504: "The answer did not come in time.",
    507: "The item could not be written to disk.",
}
PREPARING = 5.0  # seconds at most that the start takes longer for preparing known people
FOR_ALL = (400, 401, 421)
ASKING = (*FOR_ALL, 408, 413, 415, 422, 503, 504)


def _problems(*codes: int, **more: str) -> dict[int | str, dict[str, Any]]:
    texts = {code: _SAYS[code] for code in codes} | {int(k[1:]): v for k, v in more.items()}
    return {code: {"model": Problem, "description": text} for code, text in texts.items()}


def create_app(
    bundle: Bundle,
    limits: Limits | None = None,
    *,
    items: Path | None = None,
    allow_items: bool = False,
    rules: Access | None = None,
    state: ServiceState | None = None,
) -> Callable[..., Any]:
    """Return the service as an ASGI application.

    Args:
        bundle: What is served.
        limits: How much is taken; None for the default ones.
        items: File of added items, shared with other processes; None to keep them in memory.
        allow_items: Whether items may be added and changed over HTTP.
        rules: Access rules; None: requests to a loopback name of this machine alone.
        state: What the server says of itself.

    Raises:
        BadRequestError: If the file cannot be read.
    """
    limits, state = limits or Limits(), state or ServiceState()
    live = LiveBundle(bundle, items, limits.added)
    _warm(live.known)
    dispatcher = _dispatcher(live, limits)
    app = _framework(bundle, dispatcher, limits, state)
    _add_lists(app, dispatcher)
    if allow_items:
        _add_items(app, live, dispatcher)
    else:
        _refuse_items(app)
    _add_facts(app, bundle, live, dispatcher, state)
    _add_page(app)
    return AccessMiddleware(RequestMiddleware(app, limits), rules or Access())


def _dispatcher(live: LiveBundle, limits: Limits) -> Dispatcher:
    """Return answers from the bundle as it stands when they are computed."""

    def answer(requests: Sequence[Wanted]) -> Answers:
        return live.bundle().recommend_many(requests)

    return Dispatcher(answer, pending=limits.pending, jobs=limits.jobs, seconds=limits.seconds)


def _framework(
    bundle: Bundle, dispatcher: Dispatcher, limits: Limits, state: ServiceState
) -> FastAPI:
    """Return the application without routes, which begins and ends with the dispatcher."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        dispatcher.start()
        yield
        state.ended = await asyncio.to_thread(dispatcher.stop, limits.drain_seconds)

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


def _said_to_be_json(
    content_type: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> None:
    """Refuse bodies of other types.

    A page in a browser may send those to any address without asking it first.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise HTTPException(415, "send JSON, with the header Content-Type: application/json")


JSON_ONLY = [Depends(_said_to_be_json)]


def _add_lists(app: FastAPI, dispatcher: Dispatcher) -> None:
    answers = {200: {"model": Answer | list[Answer]}, **_problems(*ASKING)}

    @app.post("/recommend", responses=answers, dependencies=JSON_ONLY)
    async def recommend(body: RecommendBody) -> Response:
        """Recommend: one request gives one answer, a list of them a list of answers."""
        content = [answer.to_json() for answer in await dispatcher.answers(body.requests())]
        return _json(content[0] if body.single else content)


def _add_items(app: FastAPI, live: LiveBundle, dispatcher: Dispatcher) -> None:
    full = _problems(*ASKING, 507, c409="The service has changed as many items as it may.")

    @app.post("/items", responses={200: {"model": Added}, **full}, dependencies=JSON_ONLY)
    async def items(body: Items) -> Response:
        """Add items from their text, or change known ones."""
        new = [item.new() for item in body.items]
        added, changed = await dispatcher.call(lambda: live.add(new))
        size = len(live.known.parts.items)
        return _json({"added": added, "changed": changed, "items": size})


def _refuse_items(app: FastAPI) -> None:
    @app.post("/items", include_in_schema=False)
    async def items() -> Response:
        return _refusal(403, "this service does not take items; start it with --allow-items")


def _add_facts(
    app: FastAPI, bundle: Bundle, live: LiveBundle, dispatcher: Dispatcher, state: ServiceState
) -> None:
    front_content = _json(_front(bundle))

    @app.get("/front", responses={200: {"model": FrontAnswer}, **_problems(*FOR_ALL)})
    async def front() -> Response:
        """Return the operating points, their objectives and intervals; ids go into `point`."""
        return front_content

    unwell: dict[int | str, dict[str, Any]] = {
        503: {"model": Health, "description": "No list is taken now."}
    }

    @app.get(
        "/health",
        responses={200: {"model": Health | Liveness}, **_problems(400, 421), **unwell},
    )
    async def health(request: Request) -> Response:
        """Report whether the service answers, and, with the token, what it serves."""
        status = "stopping" if state.stopping else dispatcher.status
        code = 503 if status in ("full", "stopping") else 200
        if not request.scope.get("trusted", True):
            return _json({"status": status}, code)
        parts = live.known.parts
        return _json(
            {
                "status": status,
                "name": bundle.name,
                "version": bundle.version,
                "form": bundle.form,
                "users": len(parts.users),
                "items": len(parts.items),
                "added": live.added,
                "changed": live.changed,
                "pending": dispatcher.pending,
                "jobs": dispatcher.jobs,
            },
            code,
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
        "objectives": [objective.model_dump() for objective in bundle.about.objectives],
        "points": bundle.front(),
    }


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(content, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")


def _refusal(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": " ".join(reason.split())}, status, headers)


def _problem(error: Exception) -> Response:
    problem = to_problem(error)
    return _refusal(problem.status, problem.reason, problem.headers)


def _say_problems(app: FastAPI) -> None:
    """Answer every error with one line of JSON."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        problems = error.errors()
        if problems[0]["type"] == "json_invalid":
            return _refusal(400, f"the body is not JSON: {problems[0]['ctx']['error']}")
        return _refusal(422, "; ".join(_line(problem) for problem in problems[:3]))

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
    """Say where and what is wrong, without the input."""
    where = ".".join(str(part) for part in error["loc"] if part not in _NOT_KEYS)
    says = "unknown key" if error["type"] == "extra_forbidden" else str(error["msg"])
    return f"{where}: {says}" if where else says
