"""Lines that people read: what they say at the edges, where a careless one says nonsense."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import write_run
from tiny_experiment import CONFIG

from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.wording import isolated, kept_in_words, lacking_in_words
from pareto_rec.data.inspect import as_text
from pareto_rec.data.schema import Dataset, Interactions, Items, Users
from pareto_rec.data.split import split
from pareto_rec.experiment.config import load_config
from pareto_rec.report.answer import answer, caveat, given, notes, worthless
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.view import RunView


@pytest.fixture
def view(tmp_path: Path) -> RunView:
    write_run(tmp_path / "run", fits=6, sweep=4, rows=12)
    return read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("share", "words"),
    [(-2.52, "nothing"), (0.0, "nothing"), (0.924, "92%"), (1.0, "100%"), (1.3, "all")],
)
def test_a_gain_is_kept_in_part_wholly_or_not(share: float, words: str) -> None:
    assert kept_in_words(share) == words


def test_a_ratio_is_printed_with_what_the_baselines_were_given(view: RunView) -> None:
    assert view.hypervolumes.gain is not None
    counts = view.baselines["expert"].value_counts()
    records = int((view.records["status"] == "ok").sum())
    said = " ".join(answer(view))
    assert f"{view.hypervolumes.gain:.2f} times that of all baselines together" in said
    assert given(view) in said
    assert f"had {int(counts.max()):,} serving settings each" in given(view)
    assert f"the search {records:,} records" in given(view)


def test_a_hypervolume_of_nothing_names_what_is_not_reached(view: RunView) -> None:
    first, *others = view.axes
    far = dataclasses.replace(first, reference=2.0 if first.maximise else -2.0)
    none = dataclasses.replace(
        view, axes=(far, *others), hypervolumes=dataclasses.replace(view.hypervolumes, front=0.0)
    )
    assert worthless(none).startswith(
        f"no point of the front gets beyond the reference {first.label} = {far.reference:g} (best "
    )
    assert worthless(none) in " ".join(answer(none))


def test_what_limits_the_measures_is_said_on_the_page(view: RunView) -> None:
    assert notes(view) == []
    points = view.front["id"].tolist()
    info = {
        **view.info,
        "truth": {"validation": {"held_out": 60, "repeats": 52, "users": 60, "users_left_out": 45}},
        "lacking": {"ild@10": {"what": "categories", "items": 40, "of": 100, "pairs": True}},
        "described": {point: {"ild@10": [450, 900]} for point in points},
    }
    said = notes(dataclasses.replace(view, info=info))
    assert said[0].startswith("52 of 60 validation rows are of items that their users had met")
    assert "45 of 60 users are not measured" in said[0]
    assert said[1].startswith("Ild@10: 40 of 100 items (40.0%) lack a category")
    whole = 900 * len(points)
    assert f"{whole // 2:,} of {whole:,} pairs of listed items" in said[1]
    assert "at the least 50.0% of a point's" in said[1]
    assert all(line in caveat(dataclasses.replace(view, info=info)) for line in said)


def test_one_item_lacks_what_many_lack() -> None:
    entry = {"what": "price", "items": 1, "of": 8, "pairs": False}
    assert lacking_in_words("revenue@10", entry).startswith(
        "revenue@10: 1 of 8 items (12.5%) lacks a price"
    )


def test_shares_are_in_per_cent_and_counts_are_not() -> None:
    text = as_text(
        {
            "density": 0.5,
            "rows_per_item": {"least": 1, "median": 1.0, "most": 7},
            "positive_share": {"watched": 1.0},
        }
    )
    assert [line.split("  ")[-1].strip() for line in text.splitlines()] == [
        "50.0%",
        "least 1, median 1.0, most 7",
        "watched 100.0%",
    ]


def test_a_smoke_table_is_named_where_there_is_one_to_blame(tmp_path: Path) -> None:
    def message(text: str) -> str:
        path = tmp_path / "config.toml"
        path.write_text(text)
        with pytest.raises(BadRequestError) as caught:
            load_config(path)
        return str(caught.value)

    wrong = CONFIG.replace('name = "tiny"', 'name = "tiny"\nseed = -1')
    assert "[smoke]" not in message(wrong.partition("[smoke]")[0])
    assert "[smoke]" not in message(wrong)
    in_smoke = CONFIG.replace("search.generations = 1", "search.generations = -1")
    assert "with its [smoke] table: search.generations" in message(in_smoke)


def log(rows: int) -> Dataset:
    user = np.arange(rows)
    names = tuple(f"i{n}" for n in range(3))
    ones = {"watched": np.ones(rows, np.float32)}
    table = Interactions(user, user % 3, user, ones)
    items = Items(names, names, names, np.zeros((3, 0), np.float32), ())
    return Dataset("log", table, items, Users(tuple(f"u{n}" for n in range(rows)), {}))


def test_no_share_is_advised_where_none_can_help() -> None:
    """Users of one row each cannot be cut, whatever the shares; all rows together can."""
    with pytest.raises(BadRequestError, match=r'no share helps .* "global_time" or "random"'):
        split(log(30), "per_user", validation=0.1, test=0.1, seed=0)
    for kind in ("global_time", "random"):
        assert len(split(log(30), kind, validation=0.1, test=0.1, seed=0).test.held_out)


def test_texts_from_right_to_left_are_kept_apart() -> None:
    assert isolated("Film (1995)") == "Film (1995)"
    assert isolated("\u05d0\u05d1") == "\u2068\u05d0\u05d1\u2069"
    assert isolated("\u0641\u064a 7") == "\u2068\u0641\u064a 7\u2069"
