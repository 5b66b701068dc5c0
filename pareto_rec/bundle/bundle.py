"""Bundles in memory: lists of users, by operating point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pareto_rec.bundle.data import FORMS, BundleData, BundleManifest
from pareto_rec.bundle.interruption import interruption_point
from pareto_rec.bundle.memory import Copies
from pareto_rec.bundle.prefer import preferred
from pareto_rec.bundle.scorer_cache import ScorerCache
from pareto_rec.bundle.scoring import Engine, known_people, torch_backend
from pareto_rec.bundle.store import read_parts
from pareto_rec.bundle.texts import Texts, with_new_items
from pareto_rec.bundle.types import (
    NewItem,
    Recommendation,
    Recommended,
    Request,
    Source,
)
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.ranking import recommend
from pareto_rec.ranking.backends import Backend, UserHistory

CHUNK = 256  # people scored at a time


@dataclass(frozen=True)
class _Query:
    """A request, resolved."""

    request: Request
    point: str
    known: UserHistory
    named: tuple[tuple[str, str], ...]  # id and title of every item of the history that was given
    source: Source
    notes: tuple[str, ...]
    index: int | None  # among the known people, of one whose own history this is


class Bundle:
    """A recommender that is ready to serve. It never changes; threads may share it."""

    def __init__(
        self, parts: BundleData, form: str = "fp32", folder: Path | None = None, room: int = 0
    ) -> None:
        """Prepare everything that does not depend on people; see :meth:`load` and :meth:`of`."""
        self.parts, self.form, self.folder = parts, form, folder
        self.engine = Engine(parts, self._form())
        self._items = {id_: index for index, id_ in enumerate(parts.items.ids)}
        self._users = {id_: index for index, id_ in enumerate(parts.users.ids)}
        self._people = known_people(parts)
        self.prepared = ScorerCache(self.engine, self._people, room)
        self._points = frozenset(self.points)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        form: str = "fp32",
        verify: bool = True,
        room: int = 0,
        copies: Copies | None = None,
    ) -> Bundle:
        """Load a bundle from disk into memory: what happens to its files later does not matter.

        Args:
            folder: What `pareto-rec export` wrote.
            form: ``"fp32"``, or ``"onnx"`` or ``"int8"`` where the bundle has them.
            verify: Whether every file is compared with its checksum and graphs are tried out.
            copies: What another process has read and compared (`bundle.memory.copies_of`): arrays
                are mapped from it, so that processes share them, and the folder is not read.
            room: Bytes in which to keep what lone known people were scored by, so that their next
                lists, the same to the last bit, cost about half; see `ScorerCache`.

        Raises:
            BadRequestError: If it is not a bundle, anything in it is not as it was written, or it
                does not have the form.
        """
        folder = Path(folder)
        parts = read_parts(folder, verify=verify, form=form, copies=copies)
        return cls(parts, form, folder, room)

    @classmethod
    def of(cls, parts: BundleData) -> Bundle:
        """Return a bundle without a folder."""
        return cls(parts)

    def _form(self) -> Backend:
        if self.form not in FORMS:
            raise unknown("form", self.form, FORMS)
        if self.form == "fp32":
            return torch_backend(self.parts)
        if self.parts.manifest is None or self.form not in self.about.forms:
            raise BadRequestError(
                f'this bundle has no form "{self.form}"; it has {", ".join(self.about.forms)}: '
                "export it with --onnx or --int8"
            )
        from pareto_rec.bundle.onnx_backend import OnnxBackend

        return OnnxBackend(self.parts, self.parts.manifest, quantised=self.form == "int8")

    @property
    def about(self) -> BundleManifest:
        """The bundle's manifest."""
        return self.parts.about

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.about.experiment

    @property
    def version(self) -> str:
        """Hash of all its files; empty for one that was not read from a folder."""
        return "" if self.parts.manifest is None else self.parts.manifest.version

    @property
    def points(self) -> list[str]:
        """Ids of its operating points."""
        return [point.id for point in self.about.points]

    @property
    def objectives(self) -> list[str]:
        """Names of the objectives that every point has a value of."""
        points = self.about.points
        names = [objective.name for objective in self.about.objectives]
        return [name for name in names if all(name in point.objectives for point in points)]

    def front(self) -> list[dict[str, Any]]:
        """Return its operating points as plain values, one row each."""
        fields = {"id", "selected", "picked", "objectives", "intervals", "serving", "forms"}
        return [
            {**point.model_dump(include=fields), "default": point.id == self.about.default}
            for point in self.about.points
        ]

    @cached_property
    def texts(self) -> Texts:
        """Encodes texts; the encoder is loaded when the first is."""
        return Texts(self.parts)

    def choose(self, point: str | None = None, prefer: Mapping[str, float] | None = None) -> str:
        """Return the id of the point that a request asks for.

        Raises:
            BadRequestError: If there is none, or both are given.
        """
        if point is not None and prefer is not None:
            raise BadRequestError("give point or prefer, not both")
        if prefer is not None:
            return preferred(self.about, prefer)
        if point is None:
            return self.about.default
        return point if point in self._points else self.about.point(point).id

    def recommend(
        self,
        user: str | None = None,
        history: Sequence[str | NewItem] | None = None,
        *,
        k: int = 10,
        point: str | None = None,
        prefer: Mapping[str, float] | None = None,
        explain: bool = False,
    ) -> Recommendation:
        """Return the list of one person; see `Request`.

        Raises:
            BadRequestError: If neither user nor history is given, or anything asked for is not
                there.
        """
        return self.recommend_many([Request(user, history, k, point, prefer, explain)])[0]

    def recommend_many(self, requests: Sequence[Request]) -> list[Recommendation]:
        """Return the lists of several people; those of one point and length are scored together.

        Raises:
            BadRequestError: As :meth:`recommend`; then none is answered.
        """
        resolved = [self._resolve(request) for request in requests]
        groups: dict[tuple[object, ...], list[int]] = {}
        for number, query in enumerate(resolved):
            key = (query.point, query.request.k, query.source == "popularity")
            groups.setdefault(key, []).append(number)
        answers: dict[int, Recommendation] = {}
        for places in groups.values():
            for begin in range(0, len(places), CHUNK):
                part = places[begin : begin + CHUNK]
                interruption_point()
                answers |= dict(zip(part, self._answer([resolved[p] for p in part]), strict=True))
        return [answers[number] for number in range(len(requests))]

    @torch.inference_mode()
    def _answer(self, requests: Sequence[_Query]) -> list[Recommendation]:
        """Return answers to requests of one point and length, all with a history or all without."""
        people, first = [request.known for request in requests], requests[0]
        if first.source == "popularity":
            scorers, serving = self.engine.popular(people, self.parts.serving(first.point))
        elif len(requests) == 1 and first.index is not None:
            scorers, serving = self.prepared.of_point(first.index, first.point)
        else:
            scorers, serving = self.engine.of_point(people, first.point)
        lists, scores = recommend(scorers, [serving], k=first.request.k)
        answers = []
        for row, request in enumerate(requests):
            answer = self._recommendation(request, lists[0, row], scores[0, row])
            if request.request.explain:
                from pareto_rec.bundle.explain import explained

                interruption_point()
                listed = lists[0, row][lists[0, row] >= 0]
                names = self._names(request)
                answer = explained(self.engine, answer, request.known, names, listed, serving)
            answers.append(answer)
        return answers

    def _recommendation(
        self, request: _Query, items: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> Recommendation:
        table, notes = self.parts.items, request.notes
        pairs = zip(items.tolist(), scores.tolist(), strict=True)
        shown = [(item, score) for item, score in pairs if item >= 0]
        if len(shown) < request.request.k:
            notes = (*notes, f"only {len(shown)} items are left that are not in the history")
        listed = tuple(Recommended(table.ids[i], table.titles[i], score) for i, score in shown)
        return Recommendation(listed, request.point, request.source, notes)

    def _resolve(self, request: Request) -> _Query:
        if request.user is None and request.history is None:
            raise BadRequestError("give a user or a history (it may be empty)")
        k, most = request.k, len(self.parts.items)
        if isinstance(k, bool) or int(k) != k or not 1 <= k <= most:
            raise BadRequestError(f"k = {k!r} must be a whole number from 1 to {most}")
        point = self.choose(request.point, request.prefer)
        notes: list[str] = []
        items, index = np.empty(0, dtype=np.int64), None
        if request.user is not None and request.user in self._users:
            index = self._users[request.user]
            items = self._people[index].items
        elif request.user is not None:
            notes.append(f'user "{request.user}" is not known')
        known = bool(len(items))
        own = self.parts.own_vectors.keys() & self.parts.networks(point)
        reads = self.form == "fp32" and not own
        given, vectors, named = self._history(request.history or (), notes, reads=reads)
        if len(given):
            items, index = np.concatenate([items, given]), None
        source: Source = "user" if known else "history" if len(items) else "popularity"
        if source == "popularity":
            notes.append("no history to go by: the most popular items")
        elif not known and request.user is not None:
            notes.append("answered from the history given")
        person = UserHistory(items, vectors)
        if source != "popularity" and (silent := self.engine.silent(person, point)):
            notes.append(
                f"{', '.join(silent)}: no item of the history is known to it, popularity stands in"
            )
        return _Query(request, point, person, tuple(named), source, tuple(notes), index)

    def _names(self, request: _Query) -> list[tuple[str, str]]:
        """Return the id and title of every item that the list was made from."""
        table, before = self.parts.items, len(request.known.items) - len(request.named)
        own = request.known.items[:before].tolist()
        return [*((table.ids[i], table.titles[i]) for i in own), *request.named]

    def _history(
        self, history: Sequence[str | NewItem], notes: list[str], *, reads: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float32] | None, list[tuple[str, str]]]:
        """Return positions of the given items, vectors of those outside the catalogue, and names.

        Notes are added to; `reads` says whether texts can be read.
        """
        if isinstance(history, str):
            raise BadRequestError("a history is a list of item ids, not one text")
        places: list[int] = []
        names: list[tuple[str, str]] = []
        texts: list[str] = []
        lost: list[str] = []
        for entry in history:
            item = NewItem(entry) if isinstance(entry, str) else entry
            text = item.text or item.title
            if item.id in self._items:
                places.append(self._items[item.id])
                names.append((item.id, self.parts.items.titles[places[-1]]))
            elif text and reads:
                places.append(len(self.parts.items) + len(texts))
                names.append((item.id, item.title or item.id))
                texts.append(text)
            else:
                lost.append(item.id)
        if lost:
            shown = ", ".join(f'"{id_}"' for id_ in lost[:5]) + (", ..." if len(lost) > 5 else "")
            notes.append(f"left out of the history, not in the catalogue: {shown}")
        if texts:
            notes.append(f"{len(texts)} item(s) of the history were read from their text")
        vectors = self.texts.vectors(texts) if texts else None
        return np.array(places, dtype=np.int64), vectors, names

    def with_items(
        self,
        items: Sequence[NewItem],
        features: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Bundle:
        """Return a bundle in which items are added or changed; this one stays as it is.

        An added item is scored from its text alone (no one has met it, experts give it 0); a
        changed one keeps what was learnt of it, with its new text, title and categories. What is
        neither given nor new stays. The new bundle is in memory only and has no ONNX forms.

        Args:
            items: The items; of several with one id, the last counts.
            features: Id -> row of `parts.features` of items that were encoded before; their texts
                are not read again.

        Raises:
            BadRequestError: If an item has no text, or a category that the bundle does not know.
        """
        if self.form != "fp32":
            raise BadRequestError(
                f'the form "{self.form}" serves the catalogue of its export; '
                'load "fp32" to add items'
            )
        parts = with_new_items(self.parts, items, self.texts, features)
        about = parts.about.model_copy(update={"forms": ["fp32"]})
        changed = Bundle(replace(parts, about=about), room=self.prepared.room)
        changed.folder = self.folder
        changed.texts = self.texts  # the same encoder, loaded or not
        return changed

    def top(self, k: int, point: str | None = None) -> NDArray[np.int64]:
        """Return lists of every known user, as places in the catalogue ``[users, k]``; -1 pads."""
        chosen, lists = self.choose(point), []
        for begin in range(0, len(self._people), CHUNK):
            people = self._people[begin : begin + CHUNK]
            scorers, serving = self.engine.of_point(people, chosen)
            lists.append(recommend(scorers, [serving], k=k)[0][0])
        return np.concatenate(lists)
