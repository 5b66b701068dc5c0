"""Losses on inputs small enough to work out by hand; the working is in the comments."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from toy_learning import changed, loss_inputs

from pareto_rec.losses import CHOSEN, LOSSES, ItemFacts, LossInputs, TaskLoss, TaskRows
from pareto_rec.tasks import built_in

pytestmark = pytest.mark.usefixtures("single_thread")

LOG = math.log


def tensor(*values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def by_hand(
    logits: list[list[float]],
    targets: list[list[int]],
    *,
    negatives: list[int] | None = None,
    frequency: list[float] | None = None,
) -> LossInputs:
    """One candidate whose logits over three items are those given; a target of -1 is absent.

    The item vectors are unit vectors, so that the states are the logits.
    """
    ids = torch.tensor([targets])
    half = math.sqrt(0.5)
    return LossInputs(
        states=tensor(logits),
        table=torch.eye(3, dtype=torch.float64)[None],
        bias=torch.zeros(1, 3, dtype=torch.float64),
        targets=ids.clamp(min=0),
        mask=ids >= 0,
        negatives=torch.tensor([negatives or [0]]),
        items=ItemFacts(
            # cosines: items 0 and 1 .7071, 1 and 2 .7071, 0 and 2 zero
            categories=torch.tensor([[1, 0], [half, half], [0, 1]], dtype=torch.float64),
            log_popularity=torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64),
            log_frequency=torch.log(torch.tensor(frequency or [1 / 3] * 3, dtype=torch.float64)),
        ),
    )


# p = (1/2, 1/4, 1/4) in row 0 and (1/6, 2/6, 3/6) in row 1
LOGITS = [[LOG(2), 0.0, 0.0], [0.0, LOG(2), LOG(3)]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # row 0: item 0 alone: -log 1/2; row 1: items 1 and 2: -(log 1/3 + log 1/2) / 2
        ("softmax", (LOG(2) + (LOG(3) + LOG(2)) / 2) / 2),
        # row 0: 1/2 log 1/2 + 2 * 1/4 log 1/4 = -1.5 log 2
        # row 1: -(1/6) log 6 - (1/3) log 3 - (1/2) log 2 = -(2/3) log 2 - (1/2) log 3
        ("negative_entropy", (-1.5 * LOG(2) - 2 / 3 * LOG(2) - LOG(3) / 2) / 2),
        # ordered pairs: row 0: 2 cos (1/2 * 1/4 + 1/4 * 1/4) = 3/8 cos
        # row 1: 2 cos (1/6 * 1/3 + 1/3 * 1/2) = 4/9 cos, with cos = 1 / sqrt 2
        ("similarity", (3 / 8 + 4 / 9) / math.sqrt(2) / 2),
        # row 0: 1/2 * 1 + 1/4 * 1/2 = 5/8; row 1: 1/6 + 1/3 * 1/2 = 1/3
        ("popularity", (5 / 8 + 1 / 3) / 2),
    ],
)
def test_losses_on_the_predicted_distribution(name: str, expected: float) -> None:
    inputs = by_hand(LOGITS, [[0, -1], [1, 2]])
    torch.testing.assert_close(LOSSES[name](inputs), tensor(expected))


@pytest.mark.parametrize("figures", [False, True])
def test_targets_weighted_by_what_a_hit_is_worth(figures: bool) -> None:
    inputs = by_hand(LOGITS, [[0, -1], [1, 2]])
    inputs = dataclasses.replace(inputs, beyond=figures)
    gains = {"tail": tensor(0, 2, 1), CHOSEN: tensor(1, 1, 1), "price": tensor(3, 0, 0)}
    inputs = changed(inputs, items=dataclasses.replace(inputs.items, gains=gains))
    # row 0: item 0, which is worth nothing; row 1: -(2 log 1/3 + 1 log 1/2) / 2
    expected = (0 + (2 * LOG(3) + LOG(2)) / 2) / 2
    torch.testing.assert_close(LOSSES["tail_softmax"](inputs), tensor(expected))
    torch.testing.assert_close(LOSSES["price_softmax"](inputs), tensor(3 * LOG(2) / 2))
    # where all hits are worth the same, it is the plain cross-entropy
    torch.testing.assert_close(LOSSES["gain_softmax"](inputs), LOSSES["softmax"](inputs))


def lacking(inputs: LossInputs, *items: int) -> LossInputs:
    """The inputs without the categories of some items."""
    categories = inputs.items.categories.clone()
    categories[list(items)] = 0
    return changed(inputs, items=dataclasses.replace(inputs.items, categories=categories))


def test_an_item_without_categories_is_like_every_other() -> None:
    # pairs with item 1 count 1: row 0: 2 (1/2 * 1/4 + 1/4 * 1/4), row 1: 2 (1/6 * 1/3 + 1/3 * 1/2)
    inputs = by_hand(LOGITS, [[0, -1], [1, 2]])
    found = LOSSES["similarity"](lacking(inputs, 1))
    torch.testing.assert_close(found, tensor((3 / 8 + 4 / 9) / 2))
    assert LOSSES["similarity"](lacking(inputs, 0, 1, 2)).item() == 0  # nothing to compare by


def test_the_bias_of_an_item_is_part_of_its_logit() -> None:
    inputs = by_hand([[0.0, 0.0, 0.0]], [[0]])
    # logits (log 2, 0, 0): p_0 = 1/2
    inputs = changed(inputs, bias=tensor([LOG(2), 0.0, 0.0]))
    torch.testing.assert_close(LOSSES["softmax"](inputs), tensor(LOG(2)))


def test_liked_given_watched() -> None:
    # P(liked) = 3/4, 1/2 and 3/4; labels 1, unknown (no target), 0 and 1
    rows = TaskRows(
        {"liked": tensor(LOG(3), 9.0, 0.0, LOG(3)).view(1, -1)},
        {"liked": tensor(1.0, math.nan, 0.0, 1.0).view(1, -1)},
    )
    loss = TaskLoss(built_in("liked", ()), entire_space=True, unit=1.0)
    inputs = dataclasses.replace(by_hand(LOGITS, [[0, -1], [1, 2]]), interactions=rows)
    assert loss.name == "liked"
    torch.testing.assert_close(loss(inputs), tensor((2 * LOG(4 / 3) + LOG(2)) / 3))


def test_sampled_softmax() -> None:
    # Logits (log 2, 0, log 3), q = (1/2, 1/4, 1/4): exp(logit) / q = (4, 4, 12).
    # Target 0, negatives 1, 2, 2 and the target itself, which is left out:
    # -log 4 / (4 + 4 + 12 + 12) = log 8
    inputs = by_hand(
        [[LOG(2), 0.0, LOG(3)]], [[0]], negatives=[1, 2, 0, 2], frequency=[0.5, 0.25, 0.25]
    )
    torch.testing.assert_close(LOSSES["sampled_softmax"](inputs), tensor(LOG(8)))


def test_sampled_softmax_leaves_out_each_target_on_its_own() -> None:
    # q uniform, so it cancels; exp(logit) = (2, 1, 3); negatives 0 and 2; targets 0 and 2.
    # Target 0: -log 2 / (2 + 3); target 2: -log 3 / (3 + 2)
    inputs = by_hand([[LOG(2), 0.0, LOG(3)]], [[0, 2]], negatives=[0, 2])
    expected = (LOG(5 / 2) + LOG(5 / 3)) / 2
    torch.testing.assert_close(LOSSES["sampled_softmax"](inputs), tensor(expected))


def test_sampled_softmax_of_the_whole_catalogue_is_the_full_softmax() -> None:
    """Each item once and q uniform: log q cancels, the target stands for itself."""
    inputs = loss_inputs(7, pack=3, n_items=9)
    everything = torch.arange(9).repeat(3, 1)
    uniform = ItemFacts(
        inputs.items.categories,
        inputs.items.log_popularity,
        torch.full((9,), -LOG(9), dtype=torch.float64),
    )
    inputs = changed(inputs, negatives=everything, items=uniform)
    torch.testing.assert_close(LOSSES["sampled_softmax"](inputs), LOSSES["softmax"](inputs))


def test_sampled_softmax_undoes_the_popularity_of_what_is_drawn() -> None:
    """Many negatives out of q: their corrected sum tends to S times the sum over other items.

    With exactly ``S q_j`` copies of each item j, ``sum_j S q_j exp(s_j) / q_j = S sum_j exp(s_j)``,
    so the loss is ``log(1 + S q_t sum_{j != t} exp(s_j - s_t))``.
    """
    shares = [4, 3, 2]
    negatives = [item for item, copies in enumerate(shares) for _ in range(copies)]
    inputs = by_hand(
        [[0.3, -1.0, 0.7]], [[1]], negatives=negatives, frequency=[share / 9 for share in shares]
    )
    others = math.exp(0.3 + 1.0) + math.exp(0.7 + 1.0)
    expected = LOG(1 + 9 * (3 / 9) * others)
    torch.testing.assert_close(LOSSES["sampled_softmax"](inputs), tensor(expected))


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("softmax", 0.0),
        ("sampled_softmax", 0.0),
        ("similarity", 0.0),
        ("popularity", 0.0),
        ("negative_entropy", -LOG(3)),
    ],
)
def test_lower_bounds_are_reached(name: str, bound: float) -> None:
    """Sure of the right item, which is unpopular and alone; or sure of nothing, for entropy."""
    sure = [[-99.0, -99.0, 99.0]]
    inputs = by_hand(sure, [[2]], negatives=[0, 1])
    if name == "negative_entropy":
        inputs = by_hand([[5.0, 5.0, 5.0]], [[2]])
    assert LOSSES[name].lower_bound(3) == pytest.approx(bound, abs=1e-15)
    torch.testing.assert_close(LOSSES[name](inputs), tensor(bound), rtol=0, atol=1e-12)


def test_rating() -> None:
    """Squared error in variances: (1 - 0)^2, (2 - 2)^2 and (-1 - 2)^2, the second row unknown."""
    rows = TaskRows(
        {"rating": tensor(1.0, 2.0, -1.0, 7.0).view(1, -1)},
        {"rating": tensor(0.0, 2.0, 2.0, math.nan).view(1, -1)},
    )
    loss = TaskLoss(built_in(None, ("rating",)), entire_space=True, unit=1.0)
    inputs = dataclasses.replace(by_hand(LOGITS, [[0, 1], [1, 2]]), interactions=rows)
    torch.testing.assert_close(loss(inputs), tensor(10 / 3))


def test_bpr() -> None:
    # target 0 with exp(logits) (2, 1, 3): sigmoid(s_0 - s_j) = 2 / (2 + exp(s_j))
    # negatives 1, 2, 2 (0 is the target itself): -log 2/3, -log 2/5, -log 2/5
    inputs = by_hand([[LOG(2), 0.0, LOG(3)]], [[0]], negatives=[1, 2, 0, 2])
    torch.testing.assert_close(LOSSES["bpr"](inputs), tensor((LOG(3 / 2) + 2 * LOG(5 / 2)) / 3))
    alone = by_hand([[LOG(2), 0.0, LOG(3)]], [[0]], negatives=[0, 0])
    torch.testing.assert_close(LOSSES["bpr"](alone), tensor(0.0))


def test_exposure() -> None:
    # mean of both rows: (1/2 + 1/6, 1/4 + 2/6, 1/4 + 3/6) / 2 = (8, 7, 9) / 24
    inputs = by_hand(LOGITS, [[0, -1], [1, 2]])
    expected = (64 + 49 + 81) / 576
    torch.testing.assert_close(LOSSES["exposure"](inputs), tensor(expected))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        # cross-entropy: row 0 log 2, row 1 (log 3 + log 2) / 2; the third group has no row
        ([[1, 0, 0], [0, 1, 0]], (LOG(3) - LOG(2)) / 2),
        ([[0, 0, 1], [1, 0, 0]], (LOG(3) - LOG(2)) / 2),
        ([[1, 0, 0], [1, 0, 0]], 0.0),  # one group alone
        ([[1, 0, 0], [0, 0, 0]], 0.0),  # the other row is of unknown group
    ],
)
def test_group_gap(groups: list[list[int]], expected: float) -> None:
    inputs = changed(by_hand(LOGITS, [[0, -1], [1, 2]]), group=tensor(groups))
    torch.testing.assert_close(LOSSES["group_gap"](inputs), tensor(expected))


def test_calibration() -> None:
    # shares of categories: item 0 (1, 0), item 1 (1/2, 1/2), item 2 (0, 1)
    # row 0: q = (1/2 + 1/8, 1/8 + 1/4) = (5/8, 3/8), taste (1, 0): -log(.99 * 5/8 + .01)
    # row 1: q = (1/6 + 1/6, 1/6 + 1/2) = (1/3, 2/3), taste (1/3, 2/3): 0
    inputs = by_hand(LOGITS, [[0, -1], [1, 2]])
    far = -LOG(0.99 * 5 / 8 + 0.01)
    tastes = tensor([[1.0, 0.0], [1 / 3, 2 / 3]])
    found = LOSSES["calibration"](changed(inputs, taste=tastes))
    torch.testing.assert_close(found, tensor(far / 2))
    # a row without a taste is left out
    found = LOSSES["calibration"](changed(inputs, taste=tensor([[1.0, 0.0], [0.0, 0.0]])))
    torch.testing.assert_close(found, tensor(far))
    # without the categories of item 1 its probability matches nothing: q = (1/2, 1/4)
    found = LOSSES["calibration"](changed(lacking(inputs, 1), taste=tensor([[1.0, 0.0]] * 2)))
    row_1 = -LOG(0.99 / 6 + 0.01)
    torch.testing.assert_close(found, tensor((-LOG(0.99 / 2 + 0.01) + row_1) / 2))


def test_reference_kl() -> None:
    # p = (1/2, 1/4, 1/4), r = (1/4, 1/4, 1/2): 1/2 log 2 + 0 + 1/4 log 1/2 = 1/4 log 2
    shares = [0.25, 0.25, 0.5]
    inputs = by_hand(LOGITS[:1], [[0]])
    given = changed(inputs, reference=torch.log(tensor([shares])))
    torch.testing.assert_close(LOSSES["reference_kl"](given), tensor(LOG(2) / 4))
    popular = by_hand(LOGITS[:1], [[0]], frequency=shares)  # without one it is the popularity
    torch.testing.assert_close(LOSSES["reference_kl"](popular), tensor(LOG(2) / 4))
