"""A confirmation on a log whose users meet items again: what leaves the truth is said."""

from __future__ import annotations

import json
from pathlib import Path

from random_bert import random_bert
from tables import write_rows

from pareto_rec.analysis.confirm import confirm_run
from pareto_rec.core.wording import repeats_in_words
from pareto_rec.data.table.draft import draft
from pareto_rec.data.table.files import find
from pareto_rec.data.table.options import TableOptions
from pareto_rec.data.table.profile import profiles
from pareto_rec.data.table.sources import sources_of
from pareto_rec.execution.search import search_experiment
from pareto_rec.experiment.config import load_config
from pareto_rec.experiment.inputs import read_split
from pareto_rec.report import build_report
from pareto_rec.runs.reader import read_run


def test_test_rows_of_items_met_before_are_counted_in_all_that_confirm_says(tmp_path: Path) -> None:
    """Every third user ends with the item of the beginning."""
    rows = [
        (f"u{u}", f"i{(u * 7 + (0 if n == 9 and u % 3 == 0 else n) * 3) % 31}", 1_700_000_000 + n)
        for u in range(30)
        for n in range(10)
    ]
    log = write_rows(tmp_path / "log.csv", [("user_id", "item_id", "timestamp"), *rows])
    options, path = TableOptions(), tmp_path / "config.toml"
    sources = sources_of(profiles(find([str(log)]), options))
    path.write_text(draft(sources, "mine", options), encoding="utf-8")
    bert = random_bert(tmp_path / "bert")
    small = [f'backbone.name="{bert}"', "backbone.max_length=8", 'data.duplicates="keep"']
    config, cache, run = load_config(path, small, smoke=True), tmp_path / "cache", tmp_path / "run"
    search_experiment(config, run, cache=cache, workers=1)
    content = json.loads(confirm_run(run, seeds=1, cache=cache, workers=1).read_text())
    account = read_split(config, cache).test.truth_account
    assert account["repeats"] == account["users_left_out"] == 10
    assert content["truth"] == {"test": account}
    words = f"{repeats_in_words(account, 'test')}."
    assert words in content["answer"]["says"]
    assert words in build_report(read_run(run))
