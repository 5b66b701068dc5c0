"""Requests to a bundle, and its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Source = Literal["user", "history", "popularity"]


@dataclass(frozen=True)
class NewItem:
    """An item that the bundle may not know, given by its text.

    Attributes:
        id: Its id.
        text: What the backbone reads; empty: the title.
        title: What to show a person; empty: the id.
        categories: Names of its categories.
    """

    id: str
    text: str = ""
    title: str = ""
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        user: Id of a user; known ones bring their history along.
        history: Items met, oldest first, later than those of a known user.
        k: Length of the list.
        point: Id of the operating point; None: chosen by `prefer`, else the bundle's default.
        prefer: Objective -> weight, by which the operating point is chosen.
        explain: Whether the answer says where its scores come from.
    """

    user: str | None = None
    history: Sequence[str | NewItem] | None = None
    k: int = 10
    point: str | None = None
    prefer: Mapping[str, float] | None = None
    explain: bool = False


@dataclass(frozen=True)
class Contribution:
    """Contribution of one history item to a score."""

    id: str
    title: str
    value: float


@dataclass(frozen=True)
class Explanation:
    """Explanation of the score of one recommended item.

    Attributes:
        history: What each item of the history adds, largest first.
        rest: What does not depend on single items of the history: biases and the popularity
            penalty, and with self-attention how items work together. With it, contributions add up
            to the score.
        scorers: What each scorer, weighed, adds to the score; they add up to it, too.
        tasks: The network's own outputs: ``relevance`` (logit), ``liked`` (probability), and
            by its name what each task of the config predicts.
        exact: Whether the network is linear in the items given its weights, so that contributions
            are shares; else they say what is lost without the item.
        rank_before: Place before re-ranking, from 1.
    """

    history: tuple[Contribution, ...]
    rest: float
    scorers: Mapping[str, float]
    tasks: Mapping[str, float]
    exact: bool
    rank_before: int


@dataclass(frozen=True)
class Recommended:
    """One place of a list.

    Attributes:
        id: Id of the item.
        title: Its title.
        score: Fused score, popularity penalty applied; what re-ranking starts from.
        explanation: Where the score comes from, if asked for.
    """

    id: str
    title: str
    score: float
    explanation: Explanation | None = None

    def to_json(self) -> dict[str, Any]:
        """As values that ``json`` writes."""
        content = {"id": self.id, "title": self.title, "score": self.score}
        if self.explanation is None:
            return content
        return {**content, "explanation": asdict(self.explanation)}


@dataclass(frozen=True)
class Reranking:
    """Changes by re-ranking.

    Attributes:
        mmr: Weight of diversity.
        depth: Number of items that were re-ranked.
        left_out: Titles that would be in the list without it, best first.
        brought_in: Titles that are in the list because of it.
    """

    mmr: float
    depth: int
    left_out: tuple[str, ...]
    brought_in: tuple[str, ...]


@dataclass(frozen=True)
class Recommendation:
    """One answer.

    Attributes:
        items: The list, best first.
        point: Id of the operating point that answered.
        served_from: Whose history the list was made from, or popularity where there was none.
        notes: What the asker should know: an unknown user, items left out, ...
        reranking: What re-ranking changed, if asked for.
    """

    items: tuple[Recommended, ...]
    point: str
    served_from: Source
    notes: tuple[str, ...] = ()
    reranking: Reranking | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """As values that ``json`` writes; explanations are there only where they were asked for."""
        content: dict[str, Any] = {
            "items": [item.to_json() for item in self.items],
            "point": self.point,
            "served_from": self.served_from,
            "notes": list(self.notes),
        }
        if self.reranking is not None:
            content["reranking"] = asdict(self.reranking)
        return content
