"""Attribution of a score: shares of history items, task scores, re-ranking.

Given its attention weights, attention pooling is linear in the item vectors, and ``gelu(h) = Phi(h)
h`` is linear in ``h`` given the gate ``Phi(h)``, in task towers as in the experts of a trunk; so
every logit is a sum of shares of the items and of biases. EASE and item-kNN are linear as they are.
Standardisation subtracts a mean over unseen items, which is linear, and divides by a number of the
whole list, which is kept fixed. Other tasks enter by a logarithm, as ``log sigmoid(z)``, whose
change from the logit without a history is spread over the shares of ``z`` in proportion (the
rescale rule of Shrikumar et al., Learning important
features through propagating activation differences, ICML 2017). So shares add up to the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.baselines.recency import history_matrix
from pareto_rec.bundle.mixed import mixed_shares
from pareto_rec.bundle.pooled import attention_shares
from pareto_rec.bundle.scoring import Engine
from pareto_rec.bundle.types import Contribution, Explanation, Recommendation, Reranking
from pareto_rec.core.errors import BadRequestError
from pareto_rec.evaluation.members import fit_shares
from pareto_rec.models.attention_pooling import AttentionPooling
from pareto_rec.models.head import ScoringHead
from pareto_rec.models.scoring import log_natural
from pareto_rec.objectives.gains import BOOSTS
from pareto_rec.ranking import (
    NETWORK,
    Network,
    Scorers,
    ServingParams,
    deviations,
    fused_scores,
    powers_of,
)
from pareto_rec.ranking.backends import TorchBackend, UserHistory, histories_of
from pareto_rec.tasks import PREFIX, RELEVANCE

Floats = NDArray[np.float64]
PENALTY = "popularity_penalty"


@dataclass(frozen=True)
class Shares:
    """A score of some items as a sum.

    Attributes:
        items: What each row of the history adds ``[rows, k]``.
        rest: What no row adds ``[k]``.
    """

    items: Floats
    rest: Floats

    @property
    def total(self) -> Floats:
        """Their sum ``[k]``."""
        return np.asarray(self.items.sum(axis=0) + self.rest)

    def scaled(self, by: float) -> Shares:
        """Return all of it times a number."""
        return Shares(self.items * by, self.rest * by)


def explained(
    engine: Engine,
    answer: Recommendation,
    known: UserHistory,
    names: Sequence[tuple[str, str]],
    items: NDArray[np.int64],
    serving: ServingParams,
) -> Recommendation:
    """Return the answer with explanations.

    Args:
        engine: What scored it.
        answer: The answer.
        known: Whose history it was made from.
        names: Id and title of every row of the history.
        items: The list, as places in the catalogue.
        serving: The serving variables that made it.

    Raises:
        BadRequestError: If the bundle is loaded in another form than fp32.
    """
    if not isinstance(engine.form, TorchBackend):
        raise BadRequestError('explanations need the form "fp32"; load the bundle in that form')
    if answer.served_from == "popularity":
        scorers, popular = engine.popular([known], serving)
        parts = {next(iter(popular.fusion)): _unshared(np.array([i.score for i in answer.items]))}
        return _filled(engine, answer, scorers, popular, items, names, parts, {}, exact=True)
    scorers, _ = engine.of_point([known], answer.point)
    unseen = ~scorers.seen[0].numpy()
    silent = engine.silent(known, answer.point)
    stand_in = _unshared(engine.builder.popularity.numpy()[items].astype(np.float64))
    parts = {
        name: (
            stand_in if name in silent else _expert_shares(engine, name, known, items, unseen)
        ).scaled(weight)
        for name, weight in serving.fusion.items()
        if weight > 0 and name in engine.parts.experts
    }
    predicted: dict[str, dict[str, Floats]] = {}
    exact = True
    for fit_id in engine.parts.networks(answer.point):
        head = engine.form.heads[fit_id]
        exact = exact and head.shape.model == AttentionPooling.name
        query = _Query(engine.form, fit_id, known, items, unseen)
        shares = _network_shares(query, _powers(head, serving))
        parts[fit_id] = shares.scaled(_network_weight(scorers.networks[fit_id], serving, fit_id))
        predicted[fit_id] = _tasks(query)
    if len(engine.parts.networks(answer.point)) == 1:  # as its serving variables call it
        parts = {NETWORK if name in engine.form.heads else name: of for name, of in parts.items()}
    if serving.popularity_penalty:
        penalty = -serving.popularity_penalty * engine.builder.popularity.numpy()[items].astype(
            np.float64
        )
        parts[PENALTY] = _unshared(penalty)
    for gain, weight in serving.boosts.items():
        if weight:
            added = engine.builder.boosts[gain].numpy()[items].astype(np.float64)
            parts[BOOSTS.key(gain)] = _unshared(weight * added)
    tasks = _mean_tasks(predicted, fit_shares(predicted, serving))
    return _filled(engine, answer, scorers, serving, items, names, parts, tasks, exact=exact)


def _mean_tasks(
    predicted: Mapping[str, Mapping[str, Floats]], shares: Mapping[str, float]
) -> dict[str, Floats]:
    """Return what networks predict, by task: the mean of those that have it, by their shares."""
    means: dict[str, Floats] = {}
    for task in dict.fromkeys(task for own in predicted.values() for task in own):
        telling = [name for name, own in predicted.items() if task in own]
        values = [predicted[name][task] for name in telling]
        weights = [shares[name] for name in telling]
        means[task] = values[0] if len(values) == 1 else np.average(values, 0, weights)
    return means


def _unshared(values: Floats) -> Shares:
    return Shares(np.zeros((0, len(values))), np.asarray(values, dtype=np.float64))


def _expert_shares(
    engine: Engine,
    name: str,
    known: UserHistory,
    items: NDArray[np.int64],
    unseen: NDArray[np.bool_],
) -> Shares:
    """Return exact shares of an expert's standardised scores."""
    model = engine.parts.experts[name]
    n_known, rows = len(model.bias), known.items
    inside = np.flatnonzero(rows < n_known)
    starts = np.array([0, len(inside)])
    bias = np.pad(model.bias.astype(np.float64), (0, engine.n_items - n_known))
    shares = np.zeros((len(rows), engine.n_items))
    if model.weights is not None and len(inside):
        weight = history_matrix(starts, rows[inside], n_known, tau=model.tau)
        latest = {int(item): int(row) for row, item in zip(inside, rows[inside], strict=True)}
        for item, value in zip(weight.indices, weight.data, strict=True):
            weights = model.weights[[int(item)]]
            weights = weights if isinstance(weights, np.ndarray) else weights.toarray()
            shares[latest[int(item)], :n_known] = value * weights[0]
    total = shares.sum(axis=0) + bias
    deviation = max(float(total[unseen].std()), 1e-6)
    return _centred(shares, bias, items, unseen).scaled(1 / deviation)


def _centred(
    shares: Floats, rest: Floats, items: NDArray[np.int64], unseen: NDArray[np.bool_]
) -> Shares:
    """Return shares over the catalogue ``[rows, N]`` at some items, centred over unseen ones."""
    centred = shares[:, items] - shares[:, unseen].mean(axis=1, keepdims=True)
    return Shares(centred, rest[items] - rest[unseen].mean())


def _network_weight(network: Network, serving: ServingParams, name: str) -> float:
    """Return the weight of a network over the deviation of its score, as the policy has it."""
    powers = torch.tensor([powers_of(network.tasks, serving)])
    return float(serving.fusion[name] / deviations(network.products[:1], powers)[0, 0])


def _powers(head: ScoringHead, serving: ServingParams) -> dict[str, float]:
    """Return tower -> its power in the network's score, without zeros."""
    shape = head.shape
    powers = dict(zip(shape.towers, powers_of(shape.tasks, serving), strict=True))
    if not head.ranks:
        powers[RELEVANCE] = 0.0
    return {name: power for name, power in powers.items() if power}


@dataclass(frozen=True)
class _Query:
    """A network, whose history it reads, and the items that are explained.

    Attributes:
        form: What scores.
        fit_id: The network.
        known: Whose history.
        items: Places in the catalogue.
        unseen: Which items of the catalogue are not in the history ``[N]``.
    """

    form: TorchBackend
    fit_id: str
    known: UserHistory
    items: NDArray[np.int64]
    unseen: NDArray[np.bool_]

    @property
    def head(self) -> ScoringHead:
        """The network."""
        return self.form.heads[self.fit_id]


@torch.inference_mode()
def _network_shares(query: _Query, powers: Mapping[str, float]) -> Shares:
    """Return shares of the log of a product of powers, centred over unseen items."""
    rows, head = len(query.known.items), query.head
    if head.shape.model != AttentionPooling.name:
        return _left_out(query, powers)
    states, n_items = pooled_shares(head, query.known), head.n_items
    shares, rest = np.zeros((len(states), n_items)), np.zeros(n_items)
    for task, power in powers.items():
        more, base = _task_shares(head, task, states)
        if task == RELEVANCE:
            shares, rest = shares + power * more, rest + power * base
            continue
        before, after = base, base + more.sum(axis=0)
        log_before, log_after = (_factor(head, task, logits) for logits in (before, after))
        change = np.where(np.abs(after - before) > 1e-9, after - before, 1.0)
        slope = np.where(np.abs(after - before) > 1e-9, (log_after - log_before) / change, 0.0)
        shares, rest = shares + power * slope * more, rest + power * log_before
    padded = np.zeros((rows, shares.shape[1]))
    padded[rows - len(shares) :] = shares
    return _centred(padded, rest, query.items, query.unseen)


def _factor(head: ScoringHead, task: str, logits: Floats) -> Floats:
    """Log of what a task predicts at some items, from its logits."""
    return np.asarray(log_natural(head.params, task, torch.from_numpy(logits).unsqueeze(0))[0])


def pooled_shares(head: ScoringHead, known: UserHistory) -> Tensor:
    """Return what each of the last rows of the history adds to the state ``[rows, D]``."""
    table, histories = head.rows(*histories_of([known], head.shape.history, head.n_items))
    places = histories[0, 0]
    places = places[places >= 0]
    mask = torch.ones(1, len(places), dtype=torch.bool)
    return attention_shares(head.params, head.shape.heads, table[:, places], mask)[0]


def _task_shares(head: ScoringHead, task: str, states: Tensor) -> tuple[Floats, Floats]:
    """Return shares of a task's logits over the catalogue ``[rows, N]``, and their rest ``[N]``."""
    params = {name: part[0].double() for name, part in head.params.items()}
    states, table = states.double(), head.table[0].double()
    states, base = mixed_shares(params, task, states)
    inner = states @ params[f"{task}.in"]
    fixed = base @ params[f"{task}.in"] + params[f"{task}.in_bias"]
    gate = 0.5 * (1 + torch.erf((inner.sum(0) + fixed) / 2**0.5))
    out = params[f"{task}.out"]
    shares = states + (gate * inner) @ out
    rest = base + (gate * fixed) @ out
    scale = states.shape[-1] ** -0.5
    if task == "relevance":
        scale /= float(head.temperature[0])
    bias = params[f"{task}.item_bias"]
    return (scale * shares @ table.T).numpy(), (scale * rest @ table.T + bias).numpy()


def _left_out(query: _Query, powers: Mapping[str, float]) -> Shares:
    """Return what is lost without each row of the history; the rest is how rows work together."""
    head, known, items = query.head, query.known, query.items
    rows, length = len(known.items), head.shape.history
    first = max(0, rows - length)
    without = [
        UserHistory(np.delete(known.items, row), known.vectors) for row in range(first, rows)
    ]
    states = query.form.states(query.fit_id, [known, *without])
    scores = np.zeros((len(without) + 1, head.n_items))
    for task, logits in head.logits(list(powers), states).items():
        values = logits.double().numpy()
        scores += powers[task] * (values if task == RELEVANCE else _factor(head, task, values))
    scores = scores[:, items] - scores[:, query.unseen].mean(axis=1, keepdims=True)
    shares = np.zeros((rows, len(items)))
    shares[first:] = scores[0] - scores[1:]
    return Shares(shares, scores[0] - shares.sum(axis=0))


@torch.inference_mode()
def _tasks(query: _Query) -> dict[str, Floats]:
    head = query.head
    logits = head.logits(head.shape.towers, query.form.states(query.fit_id, [query.known]))
    predictions = {}
    for tower, values in logits.items():
        own = values.double()
        predicted = own if tower == RELEVANCE else head.predicted(tower, own)
        predictions[tower.removeprefix(PREFIX)] = predicted[0].numpy()[query.items]
    return predictions


def _filled(
    engine: Engine,
    answer: Recommendation,
    scorers: Scorers,
    serving: ServingParams,
    items: NDArray[np.int64],
    names: Sequence[tuple[str, str]],
    parts: dict[str, Shares],
    tasks: dict[str, Floats],
    *,
    exact: bool,
) -> Recommendation:
    shared = [part.items for part in parts.values() if len(part.items)]
    shares = np.sum(shared, axis=0) if shared else np.zeros((0, len(items)))
    rest = np.sum([part.rest for part in parts.values()], axis=0)
    fused = fused_scores(scorers, serving, slice(0, 1))[0]
    listed = []
    for index, item in enumerate(answer.items):
        explanation = Explanation(
            history=_by_item(names, shares[:, index] if len(shares) else ()),
            rest=float(rest[index]),
            scorers={name: float(part.total[index]) for name, part in parts.items()},
            tasks={name: float(values[index]) for name, values in tasks.items()},
            exact=exact,
            rank_before=1 + int((fused > fused[items[index]]).sum()),
        )
        listed.append(replace(item, explanation=explanation))
    changed = _changed(engine, serving, fused, items)
    return replace(answer, items=tuple(listed), reranking=changed)


def _by_item(
    names: Sequence[tuple[str, str]], shares: Sequence[float] | Floats
) -> tuple[Contribution, ...]:
    """Return shares of the rows, those of a repeated item together, largest first."""
    total: dict[tuple[str, str], float] = {}
    for name, share in zip(names, shares, strict=False):
        total[name] = total.get(name, 0.0) + float(share)
    ordered = sorted(total.items(), key=lambda entry: -abs(entry[1]))
    return tuple(Contribution(id_, title, value) for (id_, title), value in ordered)


def _changed(
    engine: Engine, serving: ServingParams, fused: NDArray[np.float32], items: NDArray[np.int64]
) -> Reranking:
    order = engine.builder.ties.order.numpy()
    falling = np.argsort(-np.nan_to_num(fused[order], nan=-np.inf), kind="stable")
    order = order[falling[: len(items)]]
    titles = engine.parts.items.titles
    chosen, before = set(items.tolist()), set(order.tolist())
    return Reranking(
        serving.mmr,
        serving.depth,
        tuple(titles[item] for item in order.tolist() if item not in chosen),
        tuple(titles[item] for item in items.tolist() if item not in before),
    )
