"""What serving costs: counts by hand, and latency measured once and replayed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from random_bert import random_bert
from toy_learning import logits_of

from pareto_rec.backbone.cached import Backbone
from pareto_rec.baselines import BASELINES
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Dataset, Interactions, Items, Stage, Users
from pareto_rec.data.split import SPLITS, split
from pareto_rec.evaluation import costs, latency
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.evaluation.inputs import CandidateVariables, EvaluationData
from pareto_rec.evaluation.latency import OneRequest
from pareto_rec.evaluation.measurement import ObjectiveSet
from pareto_rec.evaluation.task_predictions import predicted_by
from pareto_rec.models import MODELS
from pareto_rec.models.base import Shape, init_shared
from pareto_rec.objectives import FAMILIES, UserObjective, parse
from pareto_rec.ranking import NETWORK, ServingParams, fused_scores, recommend
from pareto_rec.search.space import SearchSpace
from pareto_rec.tasks import built_in
from pareto_rec.training.batches import Sequences, draw
from pareto_rec.training.data import Fit
from pareto_rec.training.fit_store import FitStore
from pareto_rec.training.spec import TrainSpec

USERS, ITEMS, FEATURES = 50, 80, 12
NAMES = tuple(f"{f}@10" if kind.takes_k else f for f, kind in FAMILIES.items())
PREDICTING = ("mse", "rmse", "pooled_auc", "log_loss", "calibration_error")
NOT_HERE = (*PREDICTING, "grouped_auc", "expected_revenue@10")  # every row is answered; no prices
NAMES = (*(n for n in NAMES if n not in NOT_HERE), *(f"{n}[liked]" for n in PREDICTING))
SHAPE = Shape("attention_pooling", ITEMS, FEATURES, width=8, history=5, layers=1, heads=2)
SHAPE = dataclasses.replace(SHAPE, tasks=("liked",))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def dataset(seed: int = 0, rows: int = 1500) -> Dataset:
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(USERS * ITEMS)[:rows]
    names = tuple(f"i{n}" for n in range(ITEMS))
    categories = (rng.random((ITEMS, 4)) < 0.4).astype(np.float32)
    genders = tuple(rng.choice(["F", "M"], USERS).tolist())
    signals = {
        "watched": np.ones(rows, np.float32),
        "liked": (rng.random(rows) < 0.6).astype(np.float32),
        "rating": rng.integers(1, 6, rows).astype(np.float32),
    }
    return Dataset(
        "made",
        Interactions(pairs // ITEMS, pairs % ITEMS, rng.integers(0, 1000, rows), signals),
        Items(names, names, names, categories, tuple("abcd")),
        Users(tuple(f"u{n}" for n in range(USERS)), {"gender": genders}),
    )


def stage(kind: str = "per_user") -> Stage:
    return split(dataset(), kind, validation=0.2, test=0.2, seed=0).validation


def fit_of(shape: Shape = SHAPE, **spec: Any) -> Fit:
    source = torch.Generator().manual_seed(0)
    params = init_shared(shape, source) | MODELS[shape.model].init(shape, source)
    made = TrainSpec(shape.model, shape.width, shape.history, shape.layers, shape.heads, **spec)
    return Fit(made, shape, params, (), 0, 1.5)


def evaluator(of: Stage, folder: Path, names: tuple[str, ...] = NAMES) -> Evaluator:
    searched = parse("ndcg@10")
    experts = {n: BASELINES[n].scores(of) for n in ("ease_recency", "item_knn", "popularity")}
    features = np.random.default_rng(1).normal(size=(ITEMS, FEATURES))
    return Evaluator(
        EvaluationData(of, features, experts, "watched"),
        CandidateVariables(SearchSpace({}, {}), tasks=built_in("liked", ("rating",))),
        ObjectiveSet((searched,), tuple(parse(name) for name in names)),
        train=SimpleNamespace(pack_size=1, device="cpu"),
        store=FitStore(folder / "fits", "key"),
        seed=0,
    )


def test_parameters_by_hand() -> None:
    fit = fit_of()
    network = sum(part.numel() for part in fit.params.values())
    # two towers of 8 x 8 twice and a bias of 8, item biases, embeddings and projection, pooling
    assert network == 2 * (2 * 64 + 8 + ITEMS) + ITEMS * 8 + FEATURES * 8 + 64 + 16 + 10
    count = costs.parameters
    assert count({NETWORK: fit}, ServingParams(), ITEMS) == network
    assert (
        count({NETWORK: fit}, ServingParams({"network": 0.5, "popularity": 0.5}), ITEMS)
        == network + ITEMS
    )
    assert count({NETWORK: fit}, ServingParams({"network": 0.0, "ease": 1.0}), ITEMS) == ITEMS**2
    assert count({}, ServingParams({"item_knn": 1.0}), ITEMS) == 10 * ITEMS
    assert count({}, ServingParams({"item_knn": 1.0}), 4) == 16  # no more neighbours than items


@pytest.mark.parametrize(
    "expert", [name for name, one in BASELINES.items() if not one.needs_impressions]
)
def test_an_expert_keeps_no_more_than_is_counted(expert: str) -> None:
    model = BASELINES[expert].fit(stage().train, (USERS, ITEMS))
    dense = model.weights if isinstance(model.weights, np.ndarray) else None
    kept = 0 if model.weights is None else dense.size if dense is not None else model.weights.nnz
    kept = kept or model.bias.size
    assert kept <= BASELINES[expert].most_weights(ITEMS)


def test_flops_of_attention_pooling_by_hand() -> None:
    n, d, heads, length = ITEMS, 8, 2, 5
    keys = 2 * length * d * d + 2 * length * d * heads  # of the items of the history alone
    tower = 2 * (2 * d * d)
    scores = 2 * n * d
    pooled = 2 * length * d  # a head sums its own part of the vectors
    alone = costs.network_flops(SHAPE, length, ())
    assert alone == keys + pooled + tower + scores
    assert costs.network_flops(SHAPE, length, ("liked",)) == alone + tower + scores


def test_flops_of_self_attention_by_hand() -> None:
    n, d, length, layers = ITEMS, 8, 5, 2
    shape = dataclasses.replace(SHAPE, model="self_attention", layers=layers)
    block = 2 * length * d * 3 * d + 2 * length * d * d + 2 * 2 * length * d * 2 * d
    attend = 2 * 2 * length * length * d
    expected = layers * (block + attend) + 4 * d * d + 2 * n * d
    assert costs.network_flops(shape, length, ()) == expected


def test_flops_of_the_rest_by_hand() -> None:
    def count(**serving: Any) -> int:
        return costs.flops({}, ServingParams(**serving), ITEMS, k=10, history=30)

    ease = 2 * 30 * ITEMS
    assert count(fusion={"popularity": 1.0}) == 8 * ITEMS
    assert count(fusion={"ease": 1.0}) == ease + 8 * ITEMS
    assert count(fusion={"ease": 1.0, "item_knn": 0.0}) == ease + 8 * ITEMS
    assert count(fusion={"ease": 0.5, "item_knn": 0.5}) == ease + 2 * 30 * 10 + 16 * ITEMS
    plain = count(fusion={"ease": 1.0})
    assert count(fusion={"ease": 1.0}, popularity_penalty=0.1) == plain + 2 * ITEMS
    assert count(fusion={"ease": 1.0}, mmr=0.2, depth=50) == plain + 3 * 10 * 50
    assert count(fusion={"ease": 1.0}, mmr=0.2, depth=500) == plain + 3 * 10 * ITEMS


def test_settings_of_one_serving_shape_share_their_latency() -> None:
    def shape(**serving: Any) -> ServingParams:
        return costs.serving_shape(ServingParams(**serving), 1000, 10)

    fused = {"network": 0.3, "ease": 0.7, "item_knn": 0.0}
    one = shape(fusion=fused, mmr=0.2, depth=40, exponents={"liked": 0.3})
    assert one == shape(
        fusion={"network": 0.6, "ease": 0.4}, mmr=0.9, depth=64, exponents={"liked": 2.0}
    )
    assert one.depth == 64
    assert one != shape(fusion=fused, mmr=0.2, depth=65, exponents={"liked": 0.3})
    assert one != shape(fusion=fused, mmr=0.2, depth=40)
    assert one != shape(fusion=fused, depth=40, exponents={"liked": 0.3})
    assert shape(fusion=fused, depth=40) == shape(fusion=fused, depth=200)  # not re-ranked
    assert shape(fusion={"ease": 1.0}, exponents={"liked": 1.0}) == shape(fusion={"ease": 1.0})


def request_of(made: Evaluator, fits: Mapping[str, Fit], serving: ServingParams) -> OneRequest:
    latencies = latency.Latencies(made.stage, made.users.builder, made.data, 10, Path("nowhere"))
    return OneRequest(latencies.engine(fits, serving), fits, serving, 10)


@pytest.mark.parametrize("model", MODELS)
def test_one_request_gives_the_list_of_the_batch(model: str, tmp_path: Path) -> None:
    made = evaluator(stage(), tmp_path)
    fit = fit_of(dataclasses.replace(SHAPE, model=model))
    serving = ServingParams({"network": 0.5, "ease_recency": 0.5}, 0.2, 0.3, 20, {"liked": 0.5})
    path = request_of(made, {NETWORK: fit}, serving)
    expected = recommend(made.with_fit(fit), [serving], k=10)[0][0]
    starts = made.stage.history_indptr
    for user in range(0, USERS, 7):
        found = path(made.stage.history.item[starts[user] : starts[user + 1]])
        np.testing.assert_array_equal(found, expected[user])


def test_latency_is_measured_once_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "REQUESTS", 8)
    monkeypatch.setattr(latency, "ROUNDS", 2)
    names = ("latency_p50", "latency_p95", "worst(ndcg@10 by gender)")
    made = evaluator(stage(), tmp_path, names)
    settings = [ServingParams(mmr=0.2, depth=20), ServingParams(mmr=0.4, depth=30), ServingParams()]
    first = [
        one.objectives
        for one in made.measuring.values(made.with_fit(fit_of()), settings, {NETWORK: fit_of()})
    ]
    assert first[0]["latency_p50"] == first[1]["latency_p50"]
    for one in first:
        assert 0 < one["latency_p50"] <= one["latency_p95"] < 1000
    files = sorted((tmp_path / "latency").iterdir())
    assert len(files) == 2
    for file in files:
        content = json.loads(file.read_text())["content"]
        assert content["key"]["hardware"]["cpu"]
        assert len(content["rounds"]) == 2

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(latency.Latencies, "_measure", refuse)
    again = evaluator(stage(), tmp_path, names)
    second = again.measuring.values(again.with_fit(fit_of()), settings, {NETWORK: fit_of()})
    assert [one.objectives for one in second] == first


def test_the_first_measurement_stands_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    first = {"latency_p50": 1.0, "latency_p95": 2.0}
    assert latency._keep(path, first) == first
    assert latency._keep(path, {"latency_p50": 3.0, "latency_p95": 4.0}) == first
    path.write_text('{"latency_p50": 1')
    assert latency._keep(path, first) == first
    assert list(tmp_path.iterdir()) == [path]


class Same(costs.Encoders):
    """One encoder whatever is asked for."""

    def __init__(self, encoder: costs.Encoder) -> None:
        self.encoder = encoder

    def of(self, spec: TrainSpec) -> costs.Encoder:
        del spec
        return self.encoder


def test_text_in_the_path_is_counted_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "REQUESTS", 3)
    encoded: list[str] = []
    names = ("parameters", "flops", "latency_p50")
    made = evaluator(stage(), tmp_path, names)
    fit = fit_of()
    scorers, fused = made.with_fit(fit), ServingParams({"network": 0.5, "popularity": 0.5})
    plain = made.measuring.values(scorers, [fused], {NETWORK: fit})[0].objectives
    encoder = costs.Encoder(encoded.append, 1000, 5000, "an encoder")
    assert made.measuring.supplies.costs is not None
    assert made.measuring.supplies.costs.latencies is not None
    made = made.with_(
        costs=dataclasses.replace(made.measuring.supplies.costs, encoders=Same(encoder))
    )
    alone = ServingParams({"network": 0.0, "popularity": 1.0})  # reads no text
    assert (
        made.measuring.values(scorers, [alone], {NETWORK: fit})[0].objectives["parameters"] == ITEMS
    )
    assert made.measuring.values(made.scorers, [alone])[0].objectives["parameters"] == ITEMS
    assert not encoded
    more = made.measuring.values(scorers, [fused], {NETWORK: fit})[0].objectives
    assert more["parameters"] - plain["parameters"] == 1000
    assert more["flops"] - plain["flops"] == 5000
    assert len(encoded) == latency.WARM + 3 * latency.ROUNDS
    assert len(list((tmp_path / "latency").iterdir())) == 3  # fused without text and with, alone


def test_an_encoder_is_counted_and_gives_the_cached_vectors(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "war", "and", "love"]
    width, inner, length, cut = 16, 24, 6, 1
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=inner,
        max_position_embeddings=20,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    settings = json.dumps({"tokenizer_class": "BertTokenizer"})
    (tmp_path / "bert" / "tokenizer_config.json").write_text(settings)
    backbone = Backbone.load(tmp_path / "bert", tmp_path)
    encoder = costs.Encoder.of(backbone, max_length=length, cut=cut, device="cpu")
    found = encoder.encode("war and love")
    expected = backbone.encode(["war and love"], max_length=length, cut=cut).states
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-6)
    products = 4 * 2 * length * width**2 + 2 * 2 * length * width * inner
    attention = 2 * 2 * length * length * width
    pooler = 2 * width**2  # BertModel runs it whether one looks or not
    assert encoder.flops == products + attention + pooler


def test_nothing_is_computed_that_nobody_asks_for(tmp_path: Path) -> None:
    made = evaluator(stage(), tmp_path, ("recall@5", "train_seconds"))
    fit = fit_of()
    assert made.measuring.supplies.costs is None
    assert made.measuring.supplies.predictions({NETWORK: fit}, [ServingParams()])[0] == {}
    assert made.measuring.supplies.scores(made.scorers, ServingParams()) is None
    assert made.measuring.supplies.cost({NETWORK: fit}, ServingParams()) == {}
    assert not (tmp_path / "latency").exists()


def test_scores_and_predictions_are_those_of_the_network(tmp_path: Path) -> None:
    made, fit = evaluator(stage(), tmp_path), fit_of()
    relevance, liked = (logits_of(fit, made.data, name, 5) for name in ("relevance", "liked"))
    rows = made.stage.held_out
    found = made.measuring.supplies.predictions({NETWORK: fit}, [ServingParams()])[0]["liked"]
    expected = 1 / (1 + np.exp(-liked.numpy()[rows.user, rows.item].astype(np.float64)))
    np.testing.assert_allclose(found.predicted, expected, atol=1e-6)
    np.testing.assert_array_equal(found.true, rows.signals["liked"])

    scorers = made.with_fit(fit)
    scores = fused_scores(scorers, ServingParams(), slice(3, 9))
    seen = made.scorers.seen[3:9].numpy()
    assert np.isnan(scores[seen]).all()
    for row, user in enumerate(range(3, 9)):  # the same order as the network's own
        order = np.argsort(-relevance[user].numpy()[~seen[row]])
        np.testing.assert_array_equal(np.argsort(-scores[row][~seen[row]]), order)


def test_ratings_are_predicted_in_stars(tmp_path: Path) -> None:
    made, plain = evaluator(stage(), tmp_path, ("rmse[rating]",)), fit_of()
    assert (
        "rating" not in made.measuring.supplies.predictions({NETWORK: plain}, [ServingParams()])[0]
    )
    source = torch.Generator().manual_seed(3)
    shape = dataclasses.replace(SHAPE, tasks=("liked", "rating"))
    more = init_shared(shape, source)
    params = {**more, **{n: p for n, p in plain.params.items() if n not in more}}
    params["rating.stars"] = torch.tensor([3.5, 0.0])
    fit = dataclasses.replace(plain, shape=shape, params=params)
    (found,) = made.measuring.values(made.with_fit(fit), [ServingParams()], {NETWORK: fit})
    true = made.stage.held_out.signals["rating"]  # a deviation of 0 predicts the mean everywhere
    assert found.objectives["rmse[rating]"] == pytest.approx(np.sqrt(((true - 3.5) ** 2).mean()))


def test_the_losses_say_which_signals_are_predicted() -> None:
    tasks = built_in("thumbs", ("rating",))
    both = predicted_by(tasks, ("softmax", "liked", "rating"))
    assert both == {"thumbs": True, "rating": False}  # stars are no probability
    assert predicted_by(tasks, ("softmax", "liked")) == {"thumbs": True}
    assert predicted_by(tasks, ("softmax",)) == {}


@pytest.mark.parametrize("kind", SPLITS)
def test_every_objective_can_be_measured_on_every_split(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "REQUESTS", 2)
    made = evaluator(stage(kind), tmp_path)
    setting = ServingParams({"network": 0.5, "ease_recency": 0.5}, 0.2, 0.3, 20, {"liked": 0.5})
    (found,) = made.measuring.values(made.with_fit(fit_of()), [setting], {NETWORK: fit_of()})
    assert found.reason is None
    recorded = [name for name in NAMES if parse(name).recorded]
    missing = set(recorded) - set(found.objectives)
    unknown = {"tail_ndcg@10"} if kind == "cold_items" else {"cold_ndcg@10"}
    unknown |= {"price_ndcg@10", "revenue@10"}  # these items have no prices
    assert missing <= unknown, missing
    assert all(math.isfinite(value) for value in found.objectives.values())
    asked = np.unique(made.stage.held_out.user)
    outcome = made.measuring.outcome(
        *(part[0] for part in recommend(made.scorers, [ServingParams({"popularity": 1.0})], k=10))
    )
    ndcg = parse("ndcg@10")
    assert isinstance(ndcg, UserObjective)
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(ndcg.per_user(outcome))), asked)


@pytest.mark.parametrize("kind", SPLITS)
def test_training_examples_can_be_drawn_from_every_split(kind: str) -> None:
    made = stage(kind)
    sequences = Sequences.of(made.train)
    drawn = draw(
        sequences, np.random.default_rng(0), steps=3, batch=16, history=5, positions=1, horizon=2
    )
    known = set(made.train.item.tolist()) | {-1}
    assert set(np.unique(drawn.histories).tolist()) <= known
    assert set(np.unique(drawn.targets).tolist()) <= known
    assert (drawn.targets[..., 0] >= 0).all()


def test_a_prediction_that_experts_do_not_make_is_left_out(tmp_path: Path) -> None:
    made = evaluator(stage(), tmp_path, ("mse[liked]", "recall@5"))
    (found,) = made.measuring.values(made.scorers, [ServingParams({"popularity": 1.0})])
    assert found.reason is None
    assert set(found.objectives) == {"ndcg@10", "recall@5"}


def test_an_unknown_split_is_refused_before_any_work() -> None:
    with pytest.raises(BadRequestError, match='unknown kind of split "global"'):
        split(dataset(), "global", validation=0.1, test=0.1, seed=0)


def test_each_way_of_reading_has_an_encoder_of_its_own(tmp_path: Path) -> None:
    backbone = Backbone.load(random_bert(tmp_path / "bert"), tmp_path)
    made = costs.Encoders(backbone, max_length=12, cut=None, device="cpu")
    whole, early = made.of(TrainSpec()), made.of(TrainSpec(exit_layer=1))
    assert early.flops < whole.flops
    assert early.parameters < whole.parameters
    assert made.of(TrainSpec(text_length=6)).flops < whole.flops
    assert made.of(TrainSpec(exit_layer=2)) is whole  # which are all
    assert made.of(TrainSpec(tuned_layers=1)) is whole  # what was learnt is merged
    coarse = [made.of(TrainSpec(encoder_precision=one)) for one in ("int8", "bfloat16")]
    mixed = made.of(TrainSpec(encoder_precision="int8", tuned_layers=1))
    assert len({one.key for one in (whole, early, *coarse, mixed)}) == 5
    text = "war, the film of love"
    expected = np.asarray(whole.encode(text))
    for one, layers, precision in ((early, 1, "float32"), (coarse[0], 2, "int8")):
        found = np.asarray(one.encode(text))
        same = backbone.encode([text], max_length=12, cut=layers, precision=precision).states
        np.testing.assert_allclose(found, same, atol=1e-5)
    assert 0 < np.abs(np.asarray(mixed.encode(text)) - expected).max() < 0.2


def test_expected_revenue_is_that_of_the_network_at_its_lists(tmp_path: Path) -> None:
    prices = np.linspace(1, 9, ITEMS).astype(np.float32)
    one = stage()
    one = dataclasses.replace(one, items=dataclasses.replace(one.items, prices=prices))
    made, fit = evaluator(one, tmp_path, ("expected_revenue@5[liked]", "recall@5")), fit_of()
    scorers = made.with_fit(fit)
    (found,) = made.measuring.values(scorers, [ServingParams()], {NETWORK: fit})
    liked = logits_of(fit, made.data, "liked", 5)
    (lists,), _ = recommend(scorers, [ServingParams()], k=5)
    chance = torch.sigmoid(liked).numpy()
    expected = (np.take_along_axis(chance, lists, axis=1) * prices[lists]).sum(axis=1).mean()
    assert found.objectives["expected_revenue@5[liked]"] == pytest.approx(expected, rel=1e-6)
    (alone,) = made.measuring.values(made.scorers, [ServingParams(fusion={"popularity": 1.0})])
    assert "expected_revenue@5[liked]" not in alone.objectives


def four_fits() -> dict[str, Fit]:
    """Fits of two models and two widths of their histories, with weights of their own."""
    shapes = (
        SHAPE,
        dataclasses.replace(SHAPE, history=7),
        dataclasses.replace(SHAPE, model="self_attention"),
        dataclasses.replace(SHAPE, tasks=()),
    )
    fits = {}
    for seed, (name, shape) in enumerate(zip("abcd", shapes, strict=True)):
        source = torch.Generator().manual_seed(seed)
        params = init_shared(shape, source) | MODELS[shape.model].init(shape, source)
        fits[name] = dataclasses.replace(fit_of(shape), params=params, seconds=1.0 + seed)
    return fits


FOUR = ServingParams(
    {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.1, "ease_recency": 0.3}, 0.2, 0.3, 20, {"liked": 0.5}
)


def test_one_request_of_four_fits_gives_the_list_of_the_batch(tmp_path: Path) -> None:
    made, fits = evaluator(stage(), tmp_path), four_fits()
    path, starts = request_of(made, fits, FOUR), made.stage.history_indptr
    expected = recommend(made.with_fits(fits), [FOUR], k=10)[0][0]
    for user in range(0, USERS, 7):
        found = path(made.stage.history.item[starts[user] : starts[user + 1]])
        np.testing.assert_array_equal(found, expected[user])


def test_costs_count_every_member_with_a_weight(tmp_path: Path) -> None:
    made = evaluator(stage(), tmp_path, ("parameters", "flops", "recall@5"))
    fits = four_fits()
    counted = made.measuring.supplies.costs
    assert counted is not None

    def cost(**weights: float) -> Mapping[str, float]:
        return counted.of(fits, ServingParams(weights))

    whole = cost(a=0.25, b=0.25, c=0.25, d=0.25)
    each = [cost(**{name: 1.0}) for name in fits]
    for name in ("parameters", "flops"):
        assert whole[name] == sum(alone[name] for alone in each)
        assert cost(a=0.5, b=0.5, c=0.0)[name] == each[0][name] + each[1][name]
        assert cost(a=0.5, popularity=0.5)[name] == each[0][name] + cost(popularity=1.0)[name]
    assert made.with_fits(fits) is not None
    (found,) = made.measuring.values(made.with_fits(fits), [FOUR], fits)
    assert found.objectives["parameters"] == whole["parameters"] + ITEMS**2


def test_fits_that_read_texts_alike_share_an_encoder(tmp_path: Path) -> None:
    made = evaluator(stage(), tmp_path, ("parameters",))
    backbone = Backbone.load(random_bert(tmp_path / "bert"), tmp_path)
    encoders = costs.Encoders(backbone, max_length=12, cut=None, device="cpu")
    plain = made.measuring.supplies.costs
    assert plain is not None
    reading = dataclasses.replace(plain, encoders=encoders)
    fits = {"a": fit_of(), "b": fit_of(), "c": fit_of(exit_layer=1)}

    def more(**weights: float) -> float:
        serving = ServingParams(weights)
        return reading.of(fits, serving)["parameters"] - plain.of(fits, serving)["parameters"]

    whole, early = (encoders.of(TrainSpec(exit_layer=layer)).parameters for layer in (0, 1))
    assert more(a=1.0) == more(a=0.5, b=0.5) == whole
    assert more(a=0.5, c=0.5) == whole + early
    assert more(a=0.5, c=0.0, popularity=0.5) == whole
    assert more(popularity=1.0) == 0


def test_latency_of_several_fits_is_shared_by_fits_of_equal_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "REQUESTS", 3)
    monkeypatch.setattr(latency, "ROUNDS", 1)
    made = evaluator(stage(), tmp_path, ("latency_p50",))
    fits = four_fits() | {"e": fit_of()}  # of the shape of the first

    def measured(**weights: float) -> float:
        setting = ServingParams(weights)
        (found,) = made.measuring.values(made.with_fits(fits), [setting], fits)
        return found.objectives["latency_p50"]

    def files() -> int:
        return len(list((tmp_path / "latency").iterdir()))

    first = measured(a=0.2, c=0.3, popularity=0.5)
    assert measured(c=0.6, e=0.1, popularity=0.3, b=0.0) == first
    assert files() == 1
    measured(a=0.2, e=0.3, c=0.1, popularity=0.4)
    measured(a=0.5, popularity=0.5)
    measured(a=0.5, b=0.5)
    assert files() == 4


def test_predictions_and_chances_of_several_fits_are_weighted_means(tmp_path: Path) -> None:
    prices = np.linspace(1, 9, ITEMS).astype(np.float32)
    one = stage()
    one = dataclasses.replace(one, items=dataclasses.replace(one.items, prices=prices))
    made, fits = evaluator(one, tmp_path, ("expected_revenue@5[liked]", "mse[liked]")), four_fits()
    setting = dataclasses.replace(FOUR, exponents={})
    (found,) = made.measuring.values(made.with_fits(fits), [setting], fits)
    shares = {"a": 1 / 6, "b": 2 / 6, "c": 3 / 6}  # the fourth has no such task
    chance = sum(
        share * torch.sigmoid(logits_of(fits[name], made.data, "liked", fits[name].spec.history))
        for name, share in shares.items()
    )
    assert isinstance(chance, torch.Tensor)
    rows = one.held_out
    (predictions,) = made.measuring.supplies.predictions(fits, [setting])
    expected = chance.numpy()[rows.user, rows.item]
    np.testing.assert_allclose(predictions["liked"].predicted, expected, atol=1e-6)
    (lists,), _ = recommend(made.with_fits(fits), [setting], k=5)
    revenue = (np.take_along_axis(chance.numpy(), lists, axis=1) * prices[lists]).sum(axis=1)
    assert found.objectives["expected_revenue@5[liked]"] == pytest.approx(revenue.mean(), rel=1e-5)
    # each setting has the shares of its own fusion
    alone = [ServingParams({name: 1.0}) for name in "abd"]
    found = made.measuring.values(made.with_fits(fits), [*alone, setting], fits)
    assert len({one.objectives.get("mse[liked]") for one in found}) == 4
    assert "mse[liked]" not in found[2].objectives
