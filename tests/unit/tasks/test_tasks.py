"""Tasks of a config: what is refused before any work, chains, exponents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.evaluation.task_predictions import predicted_by
from pareto_rec.experiment.config import load_config, parse_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.limits import check_variables
from pareto_rec.ranking import ServingParams
from pareto_rec.search.space import Real, SearchSpace
from pareto_rec.tasks import SQUARED, Task, chain_of, check_tasks, outputs, with_exponents

CLICK = Task("click", "clicked")
BUY = Task("buy", "bought", condition="click", weight=0.5)
KEEP = Task("keep", "kept", condition="buy")
SPENT = Task("spent", "amount", SQUARED, condition="buy")
TASKS = (KEEP, CLICK, SPENT, BUY)
TOML = """\
name = "clicks"
question = "Who clicks?"
data = { kind = "table", files = "log.csv", signals = { clicked = "c", bought = "b" } }
objective = [{ name = "ndcg@5" }, { name = "ild@5" }]
serving = { click_exponent = 2.0 }
[fixed]
loss_weights = { softmax = 0.5, "task:click" = 0.3, "task:buy" = 0.2 }
[space.train]
learning_rate = { kind = "real", low = 0.001, high = 0.1 }
[[task]]
name = "click"
signal = "clicked"
[[task]]
name = "buy"
signal = "bought"
condition = "click"
"""


def planned(folder: Path, *changes: tuple[str, str]) -> Any:
    text = TOML
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "config.toml").write_text(text)
    return Experiment.of(load_config(folder))


def test_chains_and_what_is_predicted() -> None:
    assert [one.name for one in chain_of(TASKS, "keep")] == ["click", "buy", "keep"]
    losses = ["softmax", *(one.key for one in TASKS)]
    names = ("keep", "click", "spent", "buy", "click*buy*keep", "click*buy")
    assert outputs(TASKS, losses) == names
    assert outputs(TASKS, ["task:buy"]) == ("buy",), "no product without the click's chance"
    said = predicted_by(TASKS, losses)
    assert said == {name: name != "spent" for name in names}


def test_a_good_config_is_planned(tmp_path: Path) -> None:
    made = planned(tmp_path)
    assert [one.name for one in made.config.tasks] == ["click", "buy"]
    again = parse_config(made.config.model_dump(exclude_none=True), "again")
    assert again == made.config


def test_a_config_without_tasks_does_not_mention_them(tmp_path: Path) -> None:
    before, _, _ = TOML.partition("[[task]]")
    before = before.replace(', "task:click" = 0.3, "task:buy" = 0.2', "")
    (tmp_path / "config.toml").write_text(before.replace("serving = { click_exponent = 2.0 }", ""))
    assert "task" not in load_config(tmp_path).model_dump()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ([('condition = "click"', 'condition = "clik"')], 'task buy: unknown condition "clik"'),
        ([('condition = "click"', 'condition = "buy"')], "go in a circle: buy -> buy"),
        ([('name = "buy"', 'name = "click"')], 'task "click" is there twice'),
        ([('name = "buy"', 'name = "liked"')], 'task "liked": this name is taken'),
        ([('name = "buy"', 'name = "a*b"')], 'task "a\\*b": a name is made of letters'),
        ([('"task:buy" = 0.2', '"task:bye" = 0.2')], 'unknown loss "task:bye"'),
        ([('"task:click" = 0.3, ', "")], 'add the loss "task:click", or set chain = "conditional"'),
        ([(', "task:click" = 0.3, "task:buy" = 0.2', "")], 'no loss trains a task: add "task:cl'),
        ([("click_exponent", "buy_ex")], 'unknown serving variable "buy_ex"'),
        ([("click_exponent = 2.0", "exponents = { clik = 1 }")], "unknown task in serving.exponen"),
        ([("click_exponent = 2.0", "exponents = { click = true }")], "click: True is out of range"),
        (
            [("learning_rate =", "trunk ="), ("0.001", "1"), ("0.1", "2")],
            "space.train.trunk: unknown trunk",
        ),
        ([("[fixed]", '[fixed]\ntrunk = "moe"')], 'fixed.trunk: unknown trunk "moe"'),
        ([("[fixed]", '[fixed]\nchain = "esm"')], 'unknown way to learn a chain "esm"'),
        ([("[fixed]", "[fixed]\ntask_batch = 0")], "fixed.task_batch: 0 is out of range"),
        ([('condition = "click"', 'conditon = "click"')], 'did you mean "task.1.condition"'),
        ([('condition = "click"', 'loss = "hinge"')], "task.1.loss"),
        ([('signal = "clicked"\n', "")], 'key "task.0.signal" is missing'),
        ([("bought = ", "x = "), ("data = {", 'data = { liked = "click",')], "data.liked has this"),
        ([("click_exponent", "rating_exponent")], 'unknown serving variable "rating_exponent"'),
        (
            [("click_exponent", "liked_exponent"), ("data = {", 'data = { liked = "bought",')],
            'liked_exponent has no effect, as no loss trains the task: add "liked"',
        ),
        ([('"task:buy" = 0.2', "liked = 0.2")], 'unknown loss "liked"'),
        (
            [
                ('condition = "click"', 'condition = "liked"'),
                ("data = {", 'data = { liked = "bought",'),
            ],
            'condition "liked" is known of interactions alone',
        ),
    ],
)
def test_bad_tasks_are_one_line(tmp_path: Path, changes: list[Any], line: str) -> None:
    with pytest.raises(BadRequestError, match=line) as error:
        planned(tmp_path, *changes)
    assert "\n" not in str(error.value)


def test_what_only_signals_and_tasks_together_can_tell() -> None:
    with pytest.raises(BadRequestError, match='task buy: unknown signal "bought"'):
        check_tasks([CLICK, BUY], {"clicked"})
    with pytest.raises(BadRequestError, match='its condition "spent" is a value, not an outcome'):
        check_tasks([CLICK, BUY, SPENT, Task("more", "kept", condition="spent")])
    with pytest.raises(BadRequestError, match="task click: weight = inf must be a finite number"):
        check_tasks([Task("click", "clicked", weight=float("inf"))])
    with pytest.raises(BadRequestError, match='task click: unknown loss "log"'):
        check_tasks([Task("click", "clicked", "log")])
    check_tasks(TASKS, {"clicked", "bought", "kept", "amount"})


def test_an_untrained_condition_is_enough_for_a_conditional_chain(tmp_path: Path) -> None:
    changes = [('"task:click" = 0.3, ', ""), ("[fixed]", '[fixed]\nchain = "conditional"')]
    planned(tmp_path, *changes)


def test_exponents_are_weights_unless_somebody_says_otherwise() -> None:
    found = with_exponents({"exponents": {"keep": 3}, "click_exponent": 2, "mmr": 0.1}, TASKS)
    exponents = {"keep": 3, "click": 2.0, "spent": 1.0, "buy": 0.5}
    assert found == {"mmr": 0.1, "exponents": exponents}
    assert with_exponents({"relevance_exponent": 0}, TASKS)["exponents"]["relevance"] == 0
    assert with_exponents({"mmr": 0.1}, ()) == {"mmr": 0.1}
    assert ServingParams().exponents == {}


def test_exponents_of_tasks_alone_may_be_searched() -> None:
    space = SearchSpace({}, {"click_exponent": Real(0.0, 2.0)})
    check_variables({}, {}, space, [CLICK])
    for tasks, names in (([], "click_exponent"), ([SPENT], "click_exponent")):
        with pytest.raises(BadRequestError, match=f'unknown serving variable "{names}"'):
            check_variables({}, {}, space, tasks)
    with pytest.raises(BadRequestError, match="search NAME_exponent of a task"):
        check_variables({}, {}, SearchSpace({}, {"exponents": Real(0.0, 1.0)}), [CLICK])
