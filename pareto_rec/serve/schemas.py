"""What may be asked and what is answered, for validation and for the OpenAPI page."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag

from pareto_rec.bundle.answers import NewItem, Request
from pareto_rec.serve.limits import (
    MOST_BATCH,
    MOST_HISTORY,
    MOST_ID,
    MOST_ITEMS,
    MOST_K,
    MOST_NAMES,
    MOST_TEXT,
)

Id = Annotated[str, Field(min_length=1, max_length=MOST_ID)]
Text = Annotated[str, Field(max_length=MOST_TEXT)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Item(_Asked):
    """An item told by its text; a known id keeps what was learnt of it."""

    id: Id
    text: Text = Field("", description="What the backbone reads; empty: the title.")
    title: Text = Field("", description="What to show a person; empty: the id.")
    categories: list[Id] = Field([], max_length=MOST_NAMES)

    def new(self) -> NewItem:
        """As a bundle takes it."""
        return NewItem(self.id, self.text, self.title, tuple(self.categories))


class One(_Asked):
    """One list: for a user, a history, or both; the history is what came last."""

    model_config = ConfigDict(
        title="Request",
        json_schema_extra={"examples": [{"history": ["50", "181"], "k": 5}]},
    )
    user: Id | None = None
    history: list[Id | Item] | None = Field(
        None, max_length=MOST_HISTORY, description="Items met, oldest first, by id or by text."
    )
    k: int = Field(10, ge=1, le=MOST_K, description="Length of the list.")
    point: Id | None = Field(None, description="Id of an operating point; see GET /front.")
    prefer: dict[Id, Weight] | None = Field(
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
            else [one.new() if isinstance(one, Item) else one for one in history],
            self.k,
            self.point,
            self.prefer,
            self.explain,
        )


def _form(value: Any) -> str:  # anything that JSON can be
    return "batch" if isinstance(value, list) else "single"


Batch = Annotated[list[One], Field(min_length=1, max_length=MOST_BATCH)]


class Asked(RootModel[Any]):
    """A request, or a list of them."""

    model_config = ConfigDict(title="Request or list of requests", strict=True)
    root: Annotated[
        Annotated[One, Tag("single")] | Annotated[Batch, Tag("batch")], Discriminator(_form)
    ]

    @property
    def single(self) -> bool:
        """Whether one answer is wanted, and not a list of them."""
        return isinstance(self.root, One)

    def requests(self) -> list[Request]:
        """As a bundle takes them."""
        return [one.request() for one in ([self.root] if self.single else self.root)]  # type: ignore[union-attr]


class Items(_Asked):
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
    """What became of the items."""

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
    """Whether the service answers, and what it serves."""

    status: Literal["ok"]
    name: str
    version: str
    form: str
    users: int
    items: int
    added: int
    pending: int


class Problem(BaseModel):
    """Why there is no answer, in one line."""

    error: str
