"""Search: items in order of relevance to a query, from judged pairs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.core.code_keys import code_key
from pareto_rec.core.declarations import variable
from pareto_rec.core.errors import BadRequestError, construct
from pareto_rec.core.limits import Number
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.data.schema import FloatArray, IntArray
from pareto_rec.data.table.rows import Rows, Wanted, read_rows
from pareto_rec.experiment.config.systems import RankSystem
from pareto_rec.models.base import Params
from pareto_rec.search.space import Value
from pareto_rec.systems.base import (
    AT,
    Learner,
    Read,
    System,
    SystemObjective,
    dropped,
    initial,
    refuse,
)
from pareto_rec.systems.lexical import FEATURES, match
from pareto_rec.systems.parts import Parts, by_entity, hashed_order, summary
from pareto_rec.systems.spec import Shared

SHOWN = 12  # most items of a query in a step
HIDDEN = 32  # units between the cross features and a score
_NDCG = re.compile(r"ndcg@([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class SearchVariables:
    """Training variables of a system that ranks."""

    dropout: float = variable(
        0.1, Number(low=0, high=1, open_high=True), "Share of the coordinates of texts dropped."
    )
    temperature: float = variable(1.0, Number(low=1e-3, high=1e3), "Of the softmax of a list.")


@dataclass(frozen=True)
class SearchServing:
    """Serving variables of a system that ranks."""

    lexical_weight: float = variable(
        0.0,
        Number(low=0, high=1),
        "Weight of BM25 beside the network, both in deviations within a list; 1: BM25 alone.",
    )


@dataclass(frozen=True)
class Pairs:
    """Judged pairs.

    Attributes:
        queries: Texts, each once.
        items: Texts by item.
        ids: Ids of the items.
        query: Query of each pair.
        item: Item of each pair.
        grade: Relevance of each pair, 0 where there is none.
    """

    queries: tuple[str, ...]
    items: tuple[str, ...]
    ids: tuple[str, ...]
    query: IntArray
    item: IntArray
    grade: FloatArray

    @classmethod
    def of(cls, rows: Rows) -> Pairs:
        """Return the pairs of rows; of rows that judge a pair twice, the mean counts.

        The lowest grade in use is no relevance: grades are counted from there.
        """
        queries, query = np.unique(_array(rows.texts["query"]), return_inverse=True)
        ids, item = np.unique(_array(rows.texts["item"]), return_inverse=True)
        texts = [""] * len(ids)
        for place, text in zip(item.tolist(), rows.texts["text"], strict=True):
            texts[place] = texts[place] or text
        pair, which = np.unique(query * len(ids) + item, return_inverse=True)
        count = np.bincount(which)
        grade = np.bincount(which, weights=rows.values["grade"]) / count
        return cls(
            tuple(queries.tolist()),
            tuple(texts),
            tuple(ids.tolist()),
            pair // len(ids),
            pair % len(ids),
            (grade - grade.min()).astype(np.float32),
        )


def _sampled(rows: Rows, count: int, seed: int) -> Rows:
    """Return the rows of some queries, whole."""
    asked = rows.texts["query"]
    names = sorted(set(asked))
    kept = {names[place] for place in hashed_order(names, seed)[:count]}
    return rows.take(np.array([n for n, one in enumerate(asked) if one in kept], dtype=np.int64))


def _array(texts: Sequence[str]) -> NDArray[np.str_]:
    return np.array(texts, dtype=object).astype(str)


@dataclass(frozen=True)
class Lists:
    """Judged items of some queries, padded.

    Attributes:
        query: ``[Q]``.
        pair: ``[Q, M]`` rows of the pairs, -1 pads.
    """

    query: IntArray
    pair: IntArray

    @classmethod
    def of(cls, pairs: Pairs, rows: IntArray) -> Lists:
        """Return the lists of some pairs whose queries have a relevant and another item.

        A query whose items are all of one grade says nothing about order.
        """
        rows = rows[np.argsort(pairs.query[rows], kind="stable")]
        edges = np.flatnonzero(np.diff(pairs.query[rows], prepend=-1))
        groups = np.split(rows, edges[1:]) if len(rows) else []
        told = [one for one in groups if np.ptp(pairs.grade[one]) > 0]
        width = max((len(one) for one in told), default=1)
        padded = np.full((len(told), width), -1, dtype=np.int64)
        for place, one in enumerate(told):
            padded[place, : len(one)] = one
        return cls(np.array([pairs.query[one[0]] for one in told], dtype=np.int64), padded)


def gains(grade: NDArray[Any]) -> NDArray[np.float64]:
    """Return what a grade is worth: ``2^grade - 1`` (Burges et al., ICML 2005)."""
    return np.asarray(np.exp2(grade.astype(np.float64)) - 1.0)


def graded_ndcg(scores: NDArray[Any], grade: NDArray[Any], k: int) -> NDArray[np.float64]:
    """Compute NDCG@k of lists of judged items ``[Q]`` (Järvelin and Kekäläinen, TOIS 2002).

    Args:
        scores: ``[Q, M]``, NaN pads.
        grade: ``[Q, M]``, NaN pads.
        k: Length of the lists. Items of equal score share the mean gain of their places, so that
            the order of a file has no say.
    """
    worth = np.nan_to_num(gains(np.nan_to_num(grade)) * ~np.isnan(grade))
    discount = 1.0 / np.log2(np.arange(scores.shape[1]) + 2.0)
    discount[k:] = 0.0
    best = -np.sort(-worth, axis=1) @ discount
    known = np.where(np.isnan(scores), -np.finfo(np.float64).max, scores)
    order = np.argsort(-known, axis=1, kind="stable")
    ordered, ranked = (np.take_along_axis(of, order, axis=1) for of in (worth, known))
    first = np.ones(ranked.shape, dtype=bool)  # of the items of equal score
    first[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    group = np.cumsum(first.reshape(-1)) - 1
    places = np.broadcast_to(discount, ranked.shape).reshape(-1)
    shared = (np.bincount(group, weights=places) / np.bincount(group))[group]
    total = (ordered * shared.reshape(ranked.shape)).sum(axis=1)
    return np.asarray(total / np.maximum(best, 1e-12))


class Search(System):
    """A system that ranks items for queries.

    A score is ``q . i / sqrt(D)``, of the query's and the item's vectors each through a matrix of
    its own (two towers), plus a small perceptron over their product and the lexical features of the
    pair (cross features). The loss is the cross-entropy between the softmax of the scores and the
    shares of the gains in a query's list (ListNet's top-one loss, Cao et al., ICML 2007).
    """

    kind = "rank"
    variables = SearchVariables
    serving = SearchServing

    def __init__(self, config: RankSystem) -> None:
        """Read and split the judged pairs.

        Raises:
            BadRequestError: If they cannot be read, or a part has no query that says anything.
        """
        self.name, self.config = config.name, config
        data = config.data
        wanted = Wanted(
            {"query": data.query, "item": data.item, "text": data.text},
            {"grade": data.grade},
            frozenset(("query", "item", "text", "grade")),
        )
        rows = read_rows(data, wanted, f"system {config.name}: data.files")
        self._rows = rows.account
        if data.queries:
            rows = _sampled(rows, data.queries, child_seed(config.split.seed, "queries"))
        self.pairs = pairs = Pairs.of(rows)
        side, code = (
            (pairs.queries, pairs.query) if config.split.by == "query" else (pairs.ids, pairs.item)
        )
        self._entities = [side[n] for n in code.tolist()]
        share = config.split
        self.parts: Parts = by_entity(
            self._entities,
            validation=share.validation,
            test=share.test,
            seed=share.seed,
            what=f"system {config.name}",
        )
        self.train = Lists.of(pairs, self.parts.train)
        self.validation = Lists.of(pairs, self.parts.validation)
        for part in ("train", "validation"):
            if not len(getattr(self, part).query):
                raise BadRequestError(
                    f"system {config.name}: no query of the {part} part has items of different "
                    "grades, so nothing can be said of their order"
                )

    @property
    def texts(self) -> tuple[str, ...]:
        """Queries, then items."""
        return (*self.pairs.queries, *self.pairs.items)

    @cached_property
    def key(self) -> str:
        """What identifies pairs and split."""
        pairs, digest = self.pairs, hashlib.sha256()
        for part in (pairs.queries, pairs.items, pairs.ids, self.config.split.model_dump()):
            digest.update(json.dumps(part).encode())
        for array in (pairs.query, pairs.item, pairs.grade):
            digest.update(array.tobytes())
        digest.update(code_key(__name__).encode())
        return digest.hexdigest()

    @property
    def account(self) -> Mapping[str, Any]:
        """Where every row went, and queries per part."""
        return {
            **self._rows.summary(),
            "pairs": len(self.pairs.query),
            "parts": summary(self.parts, self._entities),
            "measured_queries": len(self.validation.query),
        }

    def objective(self, name: str) -> SystemObjective:
        """Return ``ndcg@k``."""
        if not _NDCG.fullmatch(name):
            raise refuse(self.name, "objective", name, ["ndcg@k"])
        return SystemObjective(f"{name}{AT}{self.name}", True, "1", 0.0)

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Lexical features of the pairs ``[pairs, 3]``, in deviations of the training pairs."""
        pairs = self.pairs
        raw = match(pairs.queries, pairs.items, pairs.query, pairs.item)
        known = raw[self.parts.train]
        return np.asarray((raw - known.mean(0)) / np.maximum(known.std(0), 1e-6), dtype=np.float32)

    def learner(self, shared: Shared, own: Mapping[str, Any], seed: int) -> Learner:
        """Begin a fit."""
        return _SearchLearner(self, shared, own, seed)

    def scores(self, head: Params, vectors: Tensor, lists: Lists) -> NDArray[np.float64]:
        """Compute the network's scores of judged items ``[Q, M]``, NaN pads."""
        found = np.full(lists.pair.shape, np.nan)
        with torch.no_grad():
            for begin in range(0, len(lists.query), 2048):
                part = slice(begin, begin + 2048)
                pair = lists.pair[part]
                rows = np.maximum(pair, 0)
                items = torch.from_numpy(self.pairs.item[rows] + len(self.pairs.queries))
                query = vectors[torch.from_numpy(lists.query[part])]
                cross = torch.from_numpy(self.features[rows]).to(vectors)
                shown = score(head, query, vectors[items], cross)
                found[part] = np.where(pair >= 0, shown.cpu().double().numpy(), np.nan)
        return found

    def measure(
        self,
        head: Params,
        shared: Shared,  # noqa: ARG002  # as the base class
        own: Mapping[str, Any],  # noqa: ARG002
        vectors: Tensor,
        serve: Sequence[Mapping[str, Value]],
        wanted: Sequence[str],
    ) -> list[dict[str, float]]:
        """Measure on the validation queries."""
        network = standard(self.scores(head, vectors, self.validation))
        lexical = standard(self._lexical(self.validation))
        found = []
        for setting in serve:
            share = construct("serving variable", SearchServing, setting).lexical_weight
            found.append(self._values((1 - share) * network + share * lexical, wanted))
        return found

    def baselines(self, wanted: Sequence[str]) -> dict[str, dict[str, float]]:
        """Measure BM25 alone."""
        return {"bm25": self._values(self._lexical(self.validation), wanted)}

    def _lexical(self, lists: Lists) -> NDArray[np.float64]:
        rows = np.maximum(lists.pair, 0)
        return np.where(lists.pair >= 0, self.features[rows, 0], np.nan)

    def _values(self, scores: NDArray[np.float64], wanted: Sequence[str]) -> dict[str, float]:
        lists = self.validation
        grade = np.where(lists.pair >= 0, self.pairs.grade[np.maximum(lists.pair, 0)], np.nan)
        values = {}
        for name in wanted:
            found = _NDCG.fullmatch(name)
            assert found is not None  # `objective` ensures it
            values[name] = float(graded_ndcg(scores, grade, int(found[1])).mean())
        return values


def standard(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores ``[Q, M]`` with mean 0 and deviation 1 within each list; NaN pads."""
    mean = np.nanmean(scores, axis=1, keepdims=True)
    deviation = np.nanstd(scores, axis=1, keepdims=True)
    return np.asarray((scores - mean) / np.maximum(deviation, 1e-9))


def score(head: Params, query: Tensor, items: Tensor, cross: Tensor) -> Tensor:
    """Compute scores of items for queries ``[Q, M]``.

    Args:
        head: Parameters, stacked ``[1, ...]``.
        query: Vectors of the queries ``[Q, D]``.
        items: Vectors of the items ``[Q, M, D]``.
        cross: Lexical features ``[Q, M, 3]``.
    """
    own = {name: value[0] for name, value in head.items()}
    asked = (query @ own["query"]).unsqueeze(1)
    shown = items @ own["item"]
    product = asked * shown * query.shape[-1] ** -0.5
    seen = torch.cat([product * query.shape[-1] ** 0.5, cross], dim=-1)
    hidden = torch.nn.functional.gelu(seen @ own["cross.in"] + own["cross.in_bias"])
    more: Tensor = (hidden @ own["cross.out"]).squeeze(-1)
    whole: Tensor = product.sum(-1) + cross @ own["lexical"] + more
    return whole


class _SearchLearner(Learner):
    """The search system's part of a fit."""

    def __init__(self, system: Search, shared: Shared, own: Mapping[str, Any], seed: int) -> None:
        self.system, self.shared, self.seed = system, shared, seed
        self.own = construct("training variable", SearchVariables, own)
        width, cross = shared.width, len(FEATURES)
        shapes: dict[str, tuple[int, ...]] = {
            "query": (width, width),
            "item": (width, width),
            "cross.in": (width + cross, HIDDEN),
            "cross.in_bias": (HIDDEN,),
            "cross.out": (HIDDEN, 1),
            "lexical": (cross,),
        }
        self.params = initial(shapes, child_seed(seed, "init"), shared.device)
        self.noise = torch.Generator().manual_seed(child_seed(seed, "noise"))
        self.unit: float | None = None
        self.batches: list[IntArray] = []

    def draw(self, first: int) -> None:
        """Draw queries, each with at most `SHOWN` of its items."""
        rng, lists = generator(self.seed, "queries", first), self.system.train
        self.batches = []
        for _ in range(self.shared.check_every):
            rows = rng.integers(0, len(lists.query), self.shared.rows)
            pair = lists.pair[rows]
            order = np.argsort(np.where(pair >= 0, rng.random(pair.shape), 2.0), axis=1)
            self.batches.append(np.take_along_axis(pair, order[:, :SHOWN], axis=1))

    def loss(self, offset: int, read: Read) -> Tensor:
        """Compute ListNet's top-one loss, as a share of its value at the first step."""
        pairs, pair = self.system.pairs, self.batches[offset]
        rows = np.maximum(pair, 0)
        device = self.shared.device
        query = torch.from_numpy(pairs.query[rows[:, 0]])
        items = torch.from_numpy(pairs.item[rows] + len(pairs.queries))
        texts, where = torch.unique(torch.cat([query, items.reshape(-1)]), return_inverse=True)
        vectors = dropped(read(texts.to(device)), self.own.dropout, self.noise)
        asked = vectors[where[: len(query)].to(device)]
        shown = vectors[where[len(query) :].view(items.shape).to(device)]
        cross = torch.from_numpy(self.system.features[rows]).to(device)
        mask = torch.from_numpy(pair >= 0).to(device)
        scores = score(self.params, asked, shown, cross) / self.own.temperature
        worth = torch.from_numpy(gains(pairs.grade[rows]).astype(np.float32)).to(device) * mask
        share = worth / worth.sum(1, keepdim=True).clamp(min=1e-9)
        chance = torch.log_softmax(scores.masked_fill(~mask, -1e9), dim=1)
        told = (worth.sum(1) > 0).float()
        loss = -((share * chance).sum(1) * told).sum() / told.sum().clamp(min=1.0)
        if self.unit is None:
            self.unit = max(float(loss.detach()), 1e-6)
        return loss / self.unit

    def watch(self, vectors: Tensor) -> float:
        """Compute NDCG@10 of the validation queries."""
        system, lists = self.system, self.system.validation
        grade = np.where(lists.pair >= 0, system.pairs.grade[np.maximum(lists.pair, 0)], np.nan)
        return float(graded_ndcg(system.scores(self.params, vectors, lists), grade, 10).mean())
