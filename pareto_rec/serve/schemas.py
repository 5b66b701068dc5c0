"""Schemas of requests and answers, for validation and for the OpenAPI page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pareto_rec.bundle.types import NewItem, Request
from pareto_rec.serve.limits import (
    MOST_BATCH,
    MOST_EXPLAINED,
    MOST_HISTORY,
    MOST_ID,
    MOST_ITEMS,
    MOST_K,
    MOST_LISTED,
    MOST_MET,
    MOST_NAMES,
    MOST_READ,
    MOST_TEXT,
)


def _as_text(value: Any) -> Any:  # anything that JSON can be
    """Return an id that is a whole number, as the text that stands for it."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, Field(min_length=1, max_length=MOST_ID)]
Id = Annotated[Name, BeforeValidator(_as_text, json_schema_input_type=Name | int)]
Text = Annotated[str, Field(max_length=MOST_TEXT)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Item(_Body):
    """An item given by its text; a known id keeps what was learnt of it."""

    id: Id
    text: Text = Field("", description="What the backbone reads; empty: the title.")
    title: Text = Field("", description="What to show a person; empty: the id.")
    categories: list[Name] = Field([], max_length=MOST_NAMES)

    def new(self) -> NewItem:
        """As a bundle takes it."""
        return NewItem(self.id, self.text, self.title, tuple(self.categories))


def _kind(value: Any) -> str:
    return "item" if isinstance(value, dict | Item) else "id"


HistoryItem = Annotated[
    Annotated[Id, Tag("id")] | Annotated[Item, Tag("item")], Discriminator(_kind)
]


class ListRequest(_Body):
    """One list: for a user, a history, or both; the history is what came last."""

    model_config = ConfigDict(
        title="Request",
        json_schema_extra={"examples": [{"history": ["50", "181"], "k": 5}]},
    )
    user: Id | None = None
    history: list[HistoryItem] | None = Field(
        None, max_length=MOST_HISTORY, description="Items met, oldest first, by id or by text."
    )
    k: int = Field(10, ge=1, le=MOST_K, description="Length of the list.")
    point: Name | None = Field(None, description="Id of an operating point; see GET /front.")
    prefer: dict[Name, Weight] | None = Field(
        None,
        min_length=1,
        max_length=MOST_NAMES,
        description="Objective -> weight: chooses the operating point instead.",
    )
    explain: bool = Field(False, description="Whether to say where the scores come from.")

    def request(self) -> Request:
        """As a bundle takes it."""
        history = self.history
        return Request(
            self.user,
            None
            if history is None
            else [item.new() if isinstance(item, Item) else item for item in history],
            self.k,
            self.point,
            self.prefer,
            self.explain,
        )


def _form(value: Any) -> str:  # anything that JSON can be
    return "batch" if isinstance(value, list) else "single"


Batch = Annotated[list[ListRequest], Field(min_length=1, max_length=MOST_BATCH)]


def _work(value: Any) -> Iterator[tuple[str, int, int]]:
    """Yield the work that a request's lists ask for, and its maximum; forms are not checked."""
    lists = [
        entry for entry in (value if isinstance(value, list) else [value]) if type(entry) is dict
    ]
    histories = [entry["history"] for entry in lists if type(entry.get("history")) is list]
    lengths = [entry.get("k", 10) for entry in lists]
    read = sum(type(item) is dict for history in histories for item in history)
    yield "items of histories with a text", read, MOST_READ
    yield "items of histories", sum(map(len, histories)), MOST_MET
    yield "items of lists", sum(k for k in lengths if type(k) is int and k > 0), MOST_LISTED
    yield "explained lists", sum(entry.get("explain") is True for entry in lists), MOST_EXPLAINED


def too_much(value: Any) -> str | None:
    """Return why the lists of a request together ask for too much; None: they do not."""
    if isinstance(value, list) and len(value) > MOST_BATCH:
        return f"{len(value)} lists in one request; at most {MOST_BATCH} are taken"
    for name, count, most in _work(value):
        if count > most:
            return f"{count} {name} in one request; at most {most} are taken"
    return None


class RecommendBody(RootModel[Any]):
    """A request, or a list of them."""

    model_config = ConfigDict(title="Request or list of requests", strict=True)
    root: Annotated[
        Annotated[ListRequest, Tag("single")] | Annotated[Batch, Tag("batch")], Discriminator(_form)
    ]

    @model_validator(mode="before")
    @classmethod
    def _within_limits(cls, value: Any) -> Any:
        """Refuse large requests before validation, so that they cost little."""
        if (problem := too_much(value)) is not None:
            raise PydanticCustomError("too_much", "{problem}", {"problem": problem})
        return value

    @property
    def single(self) -> bool:
        """Whether one answer is wanted, and not a list of them."""
        return isinstance(self.root, ListRequest)

    def requests(self) -> list[Request]:
        """As a bundle takes them."""
        return [entry.request() for entry in ([self.root] if self.single else self.root)]  # type: ignore[union-attr]


class Items(_Body):
    """Items to add or to change."""

    items: list[Item] = Field(min_length=1, max_length=MOST_ITEMS)


class Listed(BaseModel):
    """One place of a list."""

    id: str
    title: str
    score: float
    explanation: dict[str, Any] | None = Field(None, description="Only where asked for.")


class Answer(BaseModel):
    """One list, and what the asker should know of it."""

    items: list[Listed]
    point: str
    served_from: Literal["user", "history", "popularity"]
    notes: list[str]
    reranking: dict[str, Any] | None = Field(None, description="Only where asked for.")


class Added(BaseModel):
    """Counts of added and changed items."""

    added: int
    changed: int
    items: int = Field(description="Size of the catalogue now.")


class FrontAnswer(BaseModel):
    """The operating points that the bundle serves."""

    name: str
    version: str
    default: str
    objectives: list[dict[str, Any]]
    points: list[dict[str, Any]]


class Health(BaseModel):
    """State of the service, and what it serves."""

    status: Literal["ok", "busy", "full", "stopping"] = Field(
        description="busy: lone lists alone are taken; full: no list is (503); stopping: the "
        "service is about to end (503)."
    )
    name: str
    version: str
    form: str
    users: int
    items: int
    added: int
    changed: int
    pending: int = Field(description="Lone lists that wait.")
    jobs: int = Field(
        description="Batches, explanations, texts and items that wait or are worked on."
    )


class Liveness(BaseModel):
    """State of the service, without the token."""

    status: Literal["ok", "busy", "full", "stopping"]


class Problem(BaseModel):
    """An error, in one line."""

    error: str
