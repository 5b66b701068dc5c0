"""What variables may be; bad ones through the command line are in tests/faults."""

from __future__ import annotations

import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.limits import check_variables
from pareto_rec.search.space import (
    Choice,
    Integer,
    Real,
    SearchSpace,
    Simplex,
)

SPACE = SearchSpace({"learning_rate": Real(0.001, 0.1, log=True)}, {"mmr": Real(0.0, 1.0)})


def test_fixed_losses_need_no_simplex() -> None:
    check_variables({"loss_weights": {"softmax": 1.0}}, {}, SPACE)
    with pytest.raises(BadRequestError, match=r"fixed\.loss_weights: 0\.5 must be a table"):
        check_variables({"loss_weights": 0.5}, {}, SPACE)


def test_a_fixed_value_may_stand_in_while_a_variable_is_not_active() -> None:
    space = SearchSpace(
        {
            "model": Choice(("attention_pooling", "self_attention")),
            "heads": Choice((1, 2), when={"model": ("self_attention",)}),
        },
        {},
    )
    check_variables({"heads": 8}, {}, space)
    with pytest.raises(BadRequestError, match="remove one of both"):
        check_variables({"model": "self_attention"}, {}, space)


@pytest.mark.parametrize(
    ("width", "heads", "fine"),
    [
        (Choice((8, 16)), Choice((1, 2, 4, 8)), True),
        (Choice((8, 12)), Choice((1, 8)), False),
        (Integer(4, 6), Choice((1,)), True),
        (Integer(4, 6), Choice((2,)), False),
        (Integer(4, 5, when={"heads": (1,)}), Choice((1, 2, 4)), True),  # else the default, 64
        (Integer(4, 5, when={"heads": (2,)}), Choice((1, 2, 4)), False),
    ],
)
def test_every_width_meets_only_heads_that_divide_it(
    width: Choice | Integer, heads: Choice, fine: bool
) -> None:
    space = SearchSpace({"width": width, "heads": heads}, {})
    if fine:
        check_variables({}, {}, space)
    else:
        with pytest.raises(BadRequestError, match="cannot be shared by"):
            check_variables({}, {}, space)


def test_a_simplex_where_a_number_belongs_and_the_other_way_round() -> None:
    with pytest.raises(BadRequestError, match='not be of kind "simplex"'):
        check_variables({}, {}, SearchSpace({"dropout": Simplex(("a", "b"))}, {}))
    with pytest.raises(BadRequestError, match='must be of kind "simplex"'):
        check_variables({}, {}, SearchSpace({}, {"fusion": Real(0.0, 1.0)}))


def test_positions_are_refused_where_the_model_has_none() -> None:
    check_variables({"model": "self_attention", "positions": 4}, {}, SearchSpace({}, {}))
    with pytest.raises(BadRequestError, match='positions: 4 need model = "self_attention"'):
        check_variables({"positions": 4}, {}, SearchSpace({}, {}))
    models = Choice(("self_attention", "attention_pooling"))
    with pytest.raises(BadRequestError, match="positions"):
        check_variables({"positions": 2}, {}, SearchSpace({"model": models}, {}))
