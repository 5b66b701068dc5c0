"""Shown rows as examples: histories, labels, base rates, and what is drawn."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from click_world import TASKS, world

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.seeds import generator
from pareto_rec.data.schema import Interactions, Stage
from pareto_rec.tasks import SQUARED, Task
from pareto_rec.training.batches import Sequences
from pareto_rec.training.impressions import Impressions

pytestmark = pytest.mark.usefixtures("single_thread")

CLICK, BUY = TASKS
SPENT = Task("spent", "amount", SQUARED, condition="click")
# user, item, time, clicked, bought, amount
LOG = [
    (0, 1, 10, 1, 0, 3),
    (0, 2, 10, 0, math.nan, math.nan),
    (0, 3, 20, 1, 1, 5),
    (0, 4, 20, 1, math.nan, math.nan),
    (0, 5, 30, 0, 0, math.nan),
    (1, 6, 5, 0, 0, math.nan),
    (1, 7, 15, 1, 0, 7),
    (1, 8, 25, 0, 0, math.nan),
]


def stage_of(log: list[tuple[float, ...]], *, untimed: bool = False) -> Stage:
    columns = np.array(log, dtype=np.float64).T
    user, item, time = (one.astype(np.int64) for one in columns[:3])
    names = ("clicked", "bought", "amount")
    signals = {name: one.astype(np.float32) for name, one in zip(names, columns[3:], strict=True)}
    shown = Interactions(user, item, time * 0 if untimed else time, signals)
    train = shown.take(shown.positive())
    whole = world(0, users=2, items=12, shown=8).stage
    return dataclasses.replace(whole, train=train, history=train, shown=shown)


def sequences_of(stage: Stage) -> Sequences:
    return Sequences.of(stage.train)


def histories(stage: Stage, history: int = 3) -> dict[int, list[int]]:
    """Item of a row -> its history."""
    rows = Impressions.of(stage, TASKS)
    every = np.arange(len(rows.items))
    drawn = rows.draw(every, sequences_of(stage), generator(0), steps=20, batch=20, history=history)
    found = {}
    shown, items = drawn["shown_histories"], drawn["shown_items"]
    for one, item in zip(shown.reshape(-1, history), items.reshape(-1), strict=True):
        found[int(item)] = one.tolist()
    assert len(found) == len(every), "all rows are drawn sooner or later"
    return found


def test_a_history_ends_before_the_moment_of_its_row() -> None:
    """Rows shown at one moment belong to one answer; the oldest item comes first."""
    assert histories(stage_of(LOG)) == {
        1: [-1, -1, -1],
        2: [-1, -1, -1],
        3: [-1, -1, 1],
        4: [-1, -1, 1],
        5: [1, 3, 4],
        6: [-1, -1, -1],
        7: [-1, -1, -1],
        8: [-1, -1, 7],
    }


def test_without_times_a_history_is_everything_but_the_item_itself() -> None:
    assert histories(stage_of(LOG, untimed=True), history=2) == {
        1: [3, 4],
        2: [3, 4],
        3: [1, 4],
        4: [1, 3],
        5: [3, 4],
        6: [-1, 7],
        7: [-1, -1],
        8: [-1, 7],
    }


def test_where_all_rows_are_interactions_they_are_the_shown_ones() -> None:
    stage = dataclasses.replace(stage_of(LOG), shown=None)
    assert Impressions.of(stage, TASKS).items.tolist() == stage.train.item.tolist()


def test_labels_base_rates_and_units_by_hand() -> None:
    rows = Impressions.of(stage_of(LOG), (CLICK, BUY, SPENT))
    np.testing.assert_array_equal(rows.labels["click"], [1, 0, 1, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(rows.labels["conversion"], [0, np.nan, 1, np.nan, 0, 0, 0, 0])
    assert rows.scale(CLICK)[0] == 0.5
    assert rows.scale(BUY)[0] == pytest.approx(1 / 3)  # of the clicked rows that say so
    mean, deviation = rows.scale(SPENT)
    assert (mean, deviation) == (pytest.approx(5), pytest.approx(math.sqrt(8 / 3)))
    assert rows.unit(CLICK, entire_space=True) == pytest.approx(math.log(2))
    third = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    assert rows.unit(BUY, entire_space=False) == pytest.approx(third)
    seventh = -(math.log(1 / 7) / 7 + 6 * math.log(6 / 7) / 7)  # 1 of 7: of one nobody knows
    assert rows.unit(BUY, entire_space=True) == pytest.approx(seventh)
    assert rows.unit(SPENT, entire_space=True) == 1.0


def test_only_rows_that_teach_something_are_drawn() -> None:
    rows = Impressions.of(stage_of(LOG), (CLICK, BUY, SPENT))
    clicked = [0, 2, 6]
    assert rows.rows_for({"task:conversion"}, entire_space=False).tolist() == clicked
    assert rows.rows_for({"task:conversion"}, entire_space=True).tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert rows.rows_for({"task:click"}, entire_space=True).tolist() == list(range(8))
    assert rows.rows_for({"task:spent"}, entire_space=True).tolist() == clicked


def test_values_are_drawn_standardised_and_outcomes_as_they_are() -> None:
    stage = stage_of(LOG)
    rows = Impressions.of(stage, (CLICK, BUY, SPENT))
    drawn = rows.draw(np.array([6]), sequences_of(stage), generator(0), steps=1, batch=2, history=2)
    np.testing.assert_allclose(drawn["label:spent"], (7 - 5) / math.sqrt(8 / 3), rtol=1e-6)
    np.testing.assert_array_equal(drawn["label:click"], [[1, 1]])
    np.testing.assert_array_equal(drawn["label:conversion"], [[0, 0]])


@pytest.mark.parametrize(
    ("rows", "task", "line"),
    [
        ([0, 2, 3], CLICK, '"clicked" is positive in each of the 3 training rows'),
        ([1, 4], CLICK, '"clicked" is never positive in each of the 2'),
        ([1, 3], BUY, 'known in no training row where "click" came about'),
        ([2, 4], BUY, 'is positive in each of the 1 training rows that hold it where "click"'),
    ],
)
def test_labels_that_teach_nothing_are_refused(rows: list[int], task: Task, line: str) -> None:
    found = Impressions.of(stage_of([LOG[row] for row in rows]), TASKS)
    with pytest.raises(BadRequestError, match=line) as error:
        found.scale(task)
    assert "\n" not in str(error.value)


def test_a_draw_depends_on_its_stream_alone() -> None:
    one = world(1, users=20, items=12, shown=8)
    rows = one.data.labels.shown
    assert rows is not None

    def drawn(seed: int) -> dict[str, np.ndarray]:
        every = np.arange(len(rows.items))
        sizes = {"steps": 3, "batch": 7, "history": 5}
        return rows.draw(every, one.data.sequences, generator(seed), **sizes)

    for name, values in drawn(3).items():
        np.testing.assert_array_equal(values, drawn(3)[name])
    assert (drawn(3)["shown_items"] != drawn(4)["shown_items"]).any()
