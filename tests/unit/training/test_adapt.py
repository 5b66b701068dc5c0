"""Domain adaptation: examples by hand, training on a random BERT, and what lies on disk."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from random_bert import TEXTS, random_bert
from toy_learning import interactions, next_item_stage

from pareto_rec.backbone.cached import Backbone
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.sealed import read_json
from pareto_rec.core.threads import one_thread
from pareto_rec.data.schema import Stage
from pareto_rec.training.adapt.examples import Pairs, masked
from pareto_rec.training.adapt.recipe import Recipe
from pareto_rec.training.adapt.run import adapted
from pareto_rec.training.adapt.store import NOTE, adapted_folder, find
from pareto_rec.training.adapt.training import adapt, pair_loss

CPU = torch.device("cpu")
QUICK = Recipe(steps=3, texts=4, pairs=4, max_length=16, rate=1e-3)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def backbone(folder: Path, tmp_path: Path) -> Backbone:
    return Backbone.load(folder, tmp_path)


@pytest.fixture(scope="module")
def stage() -> Stage:
    made = next_item_stage()
    words = ["a", "b", "c", "film", "war", "love", "of", "the"]
    texts = tuple(f"{words[n % 8]} {words[n // 3 % 8]} of" for n in range(len(made.items)))
    return dataclasses.replace(made, items=dataclasses.replace(made.items, texts=texts))


def test_tokens_are_hidden_as_the_paper_says() -> None:
    tokens = np.tile(np.arange(10, 60), (400, 1))
    fixed = np.zeros(tokens.shape, dtype=bool)
    fixed[:, 0] = True
    rng = np.random.default_rng(0)
    made = masked(tokens, fixed, rng, share=0.15, mask=3, vocabulary=1000)
    assert not made.chosen[:, 0].any()
    assert made.chosen[:, 1:].mean() == pytest.approx(0.15, abs=0.01)
    np.testing.assert_array_equal(made.truth, tokens[made.chosen])
    np.testing.assert_array_equal(made.tokens[~made.chosen], tokens[~made.chosen])
    shown = made.tokens[made.chosen]
    assert (shown == 3).mean() == pytest.approx(0.8, abs=0.03)
    assert (shown == made.truth).mean() == pytest.approx(0.1, abs=0.03)


def test_every_text_has_a_token_to_tell_unless_it_has_none() -> None:
    tokens = np.array([[1, 7, 2], [1, 2, 0], [1, 8, 9]])
    fixed = np.isin(tokens, [0, 1, 2])
    made = masked(tokens, fixed, np.random.default_rng(0), share=1e-9, mask=3, vocabulary=50)
    assert made.chosen.sum(1).tolist() == [1, 0, 1]


def test_pairs_come_from_one_history_within_the_window() -> None:
    train = interactions([[0, 1, 2, 3, 4], [5, 6], [7]], lambda _: 1)
    pairs = Pairs.of(train, 8)
    first, second = pairs.draw(np.random.default_rng(0), 2000, 2)
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    near = {(a, b) for a in range(5) for b in range(5) if 0 < a - b <= 2}
    assert found == near | {(6, 5)}
    # one usable row of the second user at 1 / sqrt 2 against four of the first at 1 / sqrt 5
    share = (1 / math.sqrt(2)) / (1 / math.sqrt(2) + 4 / math.sqrt(5))
    assert (first == 6).mean() == pytest.approx(share, abs=0.04)
    np.testing.assert_allclose(pairs.share, np.full(8, 1 / 8))


def test_held_out_rows_make_no_pairs(stage: Stage) -> None:
    only = dataclasses.replace(
        stage, train=interactions([[0, 1], [2, 3]], lambda _: 1)
    )  # the held-out rows name all items
    pairs = Pairs.of(only.train, len(stage.items))
    first, second = pairs.draw(np.random.default_rng(0), 200, 9)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == {(1, 0), (3, 2)}


def test_without_two_rows_of_a_user_there_are_no_pairs() -> None:
    with pytest.raises(BadRequestError, match=r"set adapt\.pairs = 0"):
        Pairs.of(interactions([[0], [1]], lambda _: 1), 2)


def test_the_loss_of_pairs_by_hand() -> None:
    left = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    right = torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    ids = np.array([[0, 1, 2], [3, 4, 3]])  # the first and the third partner are one item
    share = torch.log(torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.1, 0.6]]))
    found = float(pair_loss(left, right, share, ids, 0.5))

    def nats(own: float, *others: float) -> float:
        return math.log(sum(math.exp(one) for one in (own, *others))) - own

    log = math.log
    ahead = [
        nats(2 - log(0.6), -log(0.1)),
        nats(2 - log(0.1), -log(0.6), -log(0.6)),
        nats(2 - log(0.6), -log(0.1)),
    ]
    back = [
        nats(2 - log(0.2), -log(0.3), 2 - log(0.5)),
        nats(2 - log(0.3), -log(0.2), -log(0.5)),
        nats(2 - log(0.5), -log(0.3), 2 - log(0.2)),
    ]
    assert found == pytest.approx((sum(ahead) + sum(back)) / 6, rel=1e-5)


def test_both_losses_fall_and_the_backbone_stays(backbone: Backbone) -> None:
    before = backbone.state_hash()
    walks = [[0, 1, 0, 1, 0, 1], [2, 3, 2, 3, 2, 3], [4, 6, 4, 6, 4, 6]]
    pairs = Pairs.of(interactions(walks, lambda _: 1), len(TEXTS))
    recipe = Recipe(steps=40, texts=7, pairs=12, window=1, max_length=16, rate=3e-3)
    made = adapt(backbone, TEXTS, pairs, recipe, CPU)
    assert made.curve.shape == (40, 2)
    assert (made.curve[-8:].mean(0) < 0.8 * made.curve[:8].mean(0)).all()
    assert backbone.state_hash() == before
    assert not any(value.requires_grad for value in made.model.parameters())


@pytest.mark.parametrize(("part", "kept"), [("texts", 1), ("pairs", 0)])
def test_either_part_may_be_left_out(backbone: Backbone, part: str, kept: int) -> None:
    pairs = Pairs.of(interactions([[0, 1], [2, 3]], lambda _: 1), len(TEXTS))
    made = adapt(backbone, TEXTS, pairs, dataclasses.replace(QUICK, **{part: 0}), CPU)
    assert np.isnan(made.curve[:, 1 - kept]).all()
    assert np.isfinite(made.curve[:, kept]).all()


def test_the_same_recipe_gives_the_same_weights(backbone: Backbone, stage: Stage) -> None:
    pairs = Pairs.of(stage.train, len(stage.items))
    one, same, other = (
        adapt(backbone, stage.items.texts, pairs, dataclasses.replace(QUICK, seed=seed), CPU)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.curve, same.curve)
    left, right, different = (made.model.state_dict() for made in (one, same, other))
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert not all(torch.equal(left[name], different[name]) for name in left)


def test_the_result_is_a_backbone_in_transformers_layout(
    backbone: Backbone, stage: Stage, tmp_path: Path
) -> None:
    where, before = adapted(backbone, stage, QUICK, tmp_path, device="cpu")
    assert not before
    model = transformers.AutoModel.from_pretrained(where)
    tokenizer = transformers.AutoTokenizer.from_pretrained(where)
    text = tokenizer("war of love", return_tensors="pt")
    with torch.no_grad():
        expected = model(**text).last_hidden_state.mean(1).numpy()
    found = find(backbone, stage, QUICK, tmp_path)
    np.testing.assert_allclose(
        found.encode(["war of love"], max_length=16).states, expected, atol=1e-5
    )
    assert found.weights_hash != backbone.weights_hash
    assert found.tokenizer_hash == backbone.tokenizer_hash
    note = read_json(where / NOTE)
    assert note is not None
    assert note["weights_hash"] == backbone.weights_hash
    assert len(note["curve"]) == QUICK.steps


def test_nothing_is_adapted_twice(backbone: Backbone, stage: Stage, tmp_path: Path) -> None:
    where, _ = adapted(backbone, stage, QUICK, tmp_path, device="cpu")
    times = {path: path.stat().st_mtime_ns for path in where.iterdir()}
    again, before = adapted(backbone, stage, QUICK, tmp_path, device="cpu")
    assert (again, before) == (where, True)
    assert times == {path: path.stat().st_mtime_ns for path in where.iterdir()}
    assert [path.name for path in where.parent.iterdir()] == [where.name]


def test_the_place_depends_on_all_that_decides(
    backbone: Backbone, stage: Stage, tmp_path: Path
) -> None:
    other = random_bert(tmp_path / "other", seed=1)
    items = dataclasses.replace(stage.items, texts=tuple(reversed(stage.items.texts)))
    places = {
        adapted_folder(*one, tmp_path)
        for one in (
            (backbone, stage, QUICK),
            (Backbone.load(other, tmp_path), stage, QUICK),
            (backbone, dataclasses.replace(stage, content_hash="another split"), QUICK),
            (backbone, dataclasses.replace(stage, items=items), QUICK),
            (backbone, stage, dataclasses.replace(QUICK, steps=4)),
        )
    }
    assert len(places) == 5


def test_what_was_broken_off_is_made_again(
    backbone: Backbone, stage: Stage, tmp_path: Path
) -> None:
    where = adapted_folder(backbone, stage, QUICK, tmp_path)
    where.mkdir(parents=True)
    (where / "config.json").write_text("{}")  # a folder without its note
    with pytest.raises(BadRequestError, match="run pareto-rec adapt with the same config first"):
        find(backbone, stage, QUICK, tmp_path)
    adapted(backbone, stage, QUICK, tmp_path, device="cpu")
    assert find(backbone, stage, QUICK, tmp_path).n_layers == 2


def test_a_rate_that_diverges_is_reported_and_nothing_is_kept(
    backbone: Backbone, stage: Stage, tmp_path: Path
) -> None:
    with pytest.raises(RunFailedError, match=r"lower adapt\.rate"):
        adapted(backbone, stage, dataclasses.replace(QUICK, rate=1e30), tmp_path, device="cpu")
    assert not (tmp_path / "adapted").exists()
