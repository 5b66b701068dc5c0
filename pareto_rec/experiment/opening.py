"""Opening of an experiment's test data, as the ledger holds it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pareto_rec.core.provenance import provenance
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.openings import run_label
from pareto_rec.runs.openings import Opening, append_opening, ledgers


def opening_of(
    experiment: Experiment, run: Path, command: str, seeds: int | None = None
) -> Opening:
    """Describe an opening of the test data of an experiment; nothing is written yet.

    Args:
        experiment: The experiment.
        run: The run directory that it is opened for.
        command: What opens it.
        seeds: Number of fresh seeds, if any.
    """
    config = experiment.config
    test, data = experiment.test_rows()
    sample = config.sample.model_dump()
    return Opening(
        at="",
        command=command,
        experiment=config.name,
        run=run_label(run),
        config=hashlib.sha256(config.model_dump_json().encode()).hexdigest(),
        test=test.sha256,
        sketch=test.sketch,
        data=data.sha256,
        split=config.split.model_dump() | ({"sample": sample} if any(sample.values()) else {}),
        objectives={
            goal.name: {
                "reference": goal.reference,
                "at_least": goal.at_least,
                "at_most": goal.at_most,
            }
            for goal in experiment.goals
        },
        seeds=seeds,
        commit=provenance("")["git_commit"],
        code=experiment.code_key,
    )


def write_down(opening: Opening) -> Opening:
    """Write an opening into the ledger; test data may be opened once this returns.

    Raises:
        RunFailedError: If it cannot be written.
    """
    return append_opening(ledgers()[0], opening)
