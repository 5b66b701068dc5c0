"""Command ``check``: verification of a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pareto_rec.cli.shared import Json, RunPath, show

if TYPE_CHECKING:
    from pareto_rec.analysis.verify import Finding


def check(run: RunPath, json_: Json = False) -> None:
    """Hold every file of a run against its checksum and against its records; nothing is changed.

    Exit code 1 where something was changed, is damaged or is missing.

    Example: pareto-rec check results/movielens_accuracy_diversity_fairness/2026-01-31T12-00-00
    """
    from pareto_rec.analysis.verify import check_run

    findings = check_run(run)
    bad = [finding for finding in findings if finding.state == "bad"]
    content = {
        "run": str(run),
        "trusted": not bad,
        "findings": [asdict(finding) for finding in findings],
    }
    show(content, _lines(run, findings), as_json=json_)
    if bad:
        raise typer.Exit(1)


def _lines(run: Path, findings: Sequence[Finding]) -> list[str]:
    """Return what is bad or unknown, a line each, then what that means."""
    count = {
        state: sum(finding.state == state for finding in findings) for state in ("good", "bad")
    }
    lines = [
        f"{'cannot be trusted' if finding.state == 'bad' else 'cannot be known'}: {finding.file}: "
        + " ".join(finding.says.split())
        for finding in findings
        if finding.state != "good"
    ]
    files = {finding.file for finding in findings if finding.state == "good"}
    files -= {finding.file for finding in findings if finding.state != "good"}
    lines.append(f"can be trusted: {', '.join(sorted(files)) or 'nothing'}")
    if count["bad"]:
        lines.append(f"{run}: {count['bad']} things cannot be trusted")
    return lines
