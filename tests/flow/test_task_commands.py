"""Clicks and conversions of a table, from a config to a front, a bundle and its explanations."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables import impressions, write_rows
from tiny_experiment import pareto_rec, records

from pareto_rec.bundle import Bundle
from pareto_rec.bundle.update.flow import update
from pareto_rec.core.errors import BadRequestError

pytestmark = pytest.mark.usefixtures("single_thread")

CONFIG = """\
name = "clicks"
question = "Who clicks, and who buys?"
reported = ["log_loss[click*conversion]", "expected_revenue@5[conversion]", "ndcg@5[bought]"]

[data]
kind = "table"
files = "log.csv"
columns = { user = "user", item = "item", time = "time" }
signals = { clicked = "clicked", bought = "bought", spent = "spent" }

[data.items]
text = "{name}"
categories = "kind"
price = "price"

[[task]]
name = "click"
signal = "clicked"

[[task]]
name = "conversion"
signal = "bought"
condition = "click"
weight = 0.5

[[task]]
name = "amount"
signal = "spent"
loss = "squared_error"
condition = "conversion"
weight = 0.0

[backbone]
max_length = 8

[[objective]]
name = "ndcg@5"
reference = 0.0

[[objective]]
name = "log_loss[conversion]"
reference = 2.0

[fixed]
steps = 8
check_every = 4
batch = 16
horizon = 1
history = 6
width = 8
heads = 2
trunk_experts = 2
task_batch = 32

[space.train]
trunk = { kind = "choice", options = ["shared_bottom", "mmoe", "ple"] }
chain = { kind = "choice", options = ["esmm", "conditional"] }

[space.train.loss_weights]
kind = "simplex"
names = ["softmax", "task:click", "task:conversion", "task:amount"]

[space.serve]
fusion = { kind = "simplex", names = ["network", "popularity"] }
click_exponent = { kind = "real", low = 0.0, high = 2.0 }
relevance_exponent = { kind = "real", low = 0.0, high = 1.0 }

[search]
population = 4
generations = 1
sweep = 3
"""


@pytest.fixture(scope="module")
def searched(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run, and the cache that it used."""
    folder = tmp_path_factory.mktemp("clicks")
    impressions(folder)
    (folder / "config.toml").write_text(CONFIG)
    done = pareto_rec("search", folder, "--out", folder / "run", cache=tiny_cache)
    assert done.returncode == 0, done.stderr
    return folder / "run", tiny_cache


def test_a_search_over_tasks_ends_with_a_front(searched: tuple[Path, Path]) -> None:
    run, _ = searched
    found = records(run)
    assert {one["status"] for one in found} == {"ok"}
    assert (run / "front.csv").read_text().count("\n") > 1
    for one in found:
        values = one["objectives"]
        assert 0 < values["log_loss[conversion]"] < 2
        assert 0 < values["log_loss[click*conversion]"] < 2
        assert values["expected_revenue@5[conversion]"] > 0
        assert {"click_exponent", "relevance_exponent"} <= one["serve"].keys()
    assert len({one["train"]["trunk"] for one in found}) > 1
    assert len({one["train"]["chain"] for one in found}) > 1


def test_the_exponents_change_lists(searched: tuple[Path, Path]) -> None:
    """One fit, several settings: what was predicted stays, what is recommended does not."""
    by_fit: dict[str, list[dict[str, float]]] = {}
    for one in records(searched[0]):
        by_fit.setdefault(one["fit"], []).append(one["objectives"])
    for values in by_fit.values():
        assert len({one["log_loss[conversion]"] for one in values}) == 1
    assert any(len({one["ndcg@5"] for one in values}) > 1 for values in by_fit.values())


@pytest.fixture(scope="module")
def bundle(searched: tuple[Path, Path]) -> Bundle:
    """The front as a bundle; exporting compares every list with the run's."""
    run, cache = searched
    done = pareto_rec("export", run, "--front", "--to", run.parent / "bundle", cache=cache)
    assert done.returncode == 0, done.stderr
    return Bundle.load(run.parent / "bundle")


def test_a_bundle_explains_scores_by_all_tasks(bundle: Bundle) -> None:
    explained = set()
    for point in bundle.points:
        answer = bundle.recommend(user="3", k=4, point=point, explain=True)
        fits = bundle.parts.networks(point)
        for item in answer.items:
            said = item.explanation
            assert said is not None
            total = said.rest + sum(one.value for one in said.history)
            assert total == pytest.approx(item.score, abs=1e-3)
            for fit_id in fits:
                assert set(said.tasks) == {"relevance", "click", "conversion", "amount"}
                assert 0 < said.tasks["conversion"] < 1
                assert 1 < said.tasks["amount"] < 10  # in the unit of the signal, from 1 to 6.75
                explained.add(bundle.parts.fits[fit_id].shape.trunk)
    assert explained, "no point of the front has a network"
    assert bundle.folder is not None
    card = (bundle.folder / "README.md").read_text()
    assert 'click ("clicked"), conversion ("bought", given click)' in card


def test_a_bundle_with_tasks_is_not_updated(bundle: Bundle, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "new.csv", [["user", "item", "time"], [1, "i1", 1_800_000_000]])
    assert bundle.folder is not None
    with pytest.raises(BadRequestError, match="impressions that they learn from; search again"):
        update(bundle.folder, rows, tmp_path / "next")
    assert not (tmp_path / "next").exists()
