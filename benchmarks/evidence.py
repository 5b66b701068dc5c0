"""Evidence: runs what the README and the results claim, and writes claim, command, figure.

    python -m benchmarks.evidence --list
    python -m benchmarks.evidence --only search-movielens_accuracy_diversity_fairness

Every step keeps its log and its outcome in results/evidence/<step>/. A step that has finished is
not run again: to measure it again, move its folder away. One that was interrupted goes on where it
stopped. Test data of a run is opened once, and openings of the test data of these experiments are
copied from the user's ledger into the one that is committed, results/reference/test_openings.jsonl
(--openings does that alone). The table, results/evidence.md, says which commit measured what: a row
stays until its step is measured again, and a claim that was never measured has none.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import claims
from benchmarks.claims import EVIDENCE, PROGRAM, Step, last_line, read
from pareto_rec.core.paths import swapped
from pareto_rec.runs import openings
from pareto_rec.runs.confirmation import JSON, read_content


def run(step: Step) -> dict[str, Any]:
    """Run the commands of a step, log what they say, and note the outcome."""
    folder = EVIDENCE / step.name
    (claims.ROOT / folder).mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    noted: list[str] = list(read(folder / "step.json").get("commands", []))
    outcome: dict[str, Any] = {"status": "failed"}
    try:
        with (claims.ROOT / folder / "log.txt").open("a") as log:
            for arguments in step.commands(folder):
                shown = _shown(arguments, step.env)
                print(f"  {shown}", flush=True)
                log.write(f"$ {shown}\n")
                log.flush()
                noted = [*noted, shown] if shown not in noted else noted
                subprocess.run(
                    [sys.executable, *arguments],
                    cwd=claims.ROOT,
                    env={**os.environ, **step.env},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=True,
                )
        outcome = {"status": "finished", "figure": step.figure(folder)}
    except subprocess.CalledProcessError as error:
        outcome["figure"] = f"failed with code {error.returncode}: {last_line(folder)}"
    except (OSError, KeyError, ValueError, ZeroDivisionError) as error:
        outcome["figure"] = f"no figure: {error!r}"
    outcome |= {
        "commands": noted,
        "seconds": round(time.perf_counter() - began, 1),
        "commit": _commit(),
    }
    with swapped(claims.ROOT / folder / "step.json") as temporary:
        temporary.write_text(json.dumps(outcome, indent=2) + "\n")
    return outcome


def _shown(arguments: Sequence[str], env: Mapping[str, str]) -> str:
    """Return a command as a person would type it."""
    head = [f"{name}={value}" for name, value in env.items()]
    pareto = tuple(arguments[:2]) == PROGRAM
    rest = ["pareto-rec", *arguments[2:]] if pareto else ["python", *arguments]
    return shlex.join([*head, *rest])


def _commit() -> str:
    from pareto_rec.core.provenance import provenance

    return str(provenance("")["git_commit"] or "unknown")


def write_table(all_steps: Sequence[Step]) -> Path:
    """Write results/evidence.md: claim, command and figure of every step that was ever run.

    What was measured elsewhere keeps its row, as it is committed.
    """
    path = claims.RESULTS / "evidence.md"
    kept = claims.evidence_rows(path.read_text()) if path.is_file() else {}
    rows = []
    for step in all_steps:
        outcome = read(EVIDENCE / step.name / "step.json")
        if not outcome:
            rows += [kept[step.claim].line] if step.claim in kept else []
            continue
        commands = "<br>".join(f"`{command}`" for command in outcome["commands"])
        figure = str(outcome["figure"]).replace("|", "\\|").replace("\n", " ")
        rows.append(f"| {step.claim} | {commands} | {figure} ({outcome['commit'][:12]}) |")
    text = "\n".join(
        [
            "# Evidence",
            "",
            "Written by `make evidence`: every claim, the command that measures it, what it found, "
            "and the commit that it was measured with.",
            "",
            "| claim | command | figure |",
            "|---|---|---|",
            *rows,
            "",
            *_together(),
        ]
    )
    claims.RESULTS.mkdir(exist_ok=True)
    with swapped(path) as temporary:
        temporary.write_text(text)
    return path


def keep_openings() -> int:
    """Copy openings into the committed ledger: those of data that it, or a run here, knows.

    Returns:
        How many were copied.
    """
    committed = claims.RESULTS / "reference" / openings.NAME
    known = openings.read_openings([committed])
    runs = (claims.ROOT / EVIDENCE).glob(f"*/run/{JSON}")
    entries = [(read_content(path) or {}).get("opening") for path in runs]
    data = {one.data for one in known} | {entry["data"] for entry in entries if entry}
    ids = {one.id for one in known}
    new = [
        one
        for one in openings.read_openings(openings.ledgers())
        if one.data in data and one.id not in ids
    ]
    for one in new:
        openings.append_opening(committed, one)
    return len(new)


def _together() -> list[str]:
    """Return what the confirmed experiments claim together, corrected by Holm; lines.

    Those are the reference results, and in their place what was confirmed here; without those
    that are known to be flawed.
    """
    from pareto_rec.analysis.confirm.experiments import claims_together

    references = (claims.RESULTS / "reference").glob(f"*/{JSON}")
    places = {path.parent.name: path for path in references}
    for path in (claims.ROOT / EVIDENCE).glob(f"search-*/run/{JSON}"):
        if (read_content(path) or {}).get("status") == "finished":
            places[path.parents[1].name.removeprefix("search-")] = path
    claimed = sorted(places.keys() - claims.NOT_CLAIMED)
    contents = {name: read_content(places[name]) or {} for name in claimed}
    sound = {name: one for name, one in contents.items() if not claims.flaw_of(one)}
    rows = claims_together(sound)
    if len(rows) < 2:
        return []
    return [
        "## Claims over several experiments",
        "",
        "The search's hypervolume on test data divided by that of the strongest opponent; p-values "
        f"of no difference, corrected for {len(rows)} experiments (Holm 1979).",
        "",
        "| experiment | strongest opponent | ratio | searches | p | corrected | shown |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row.experiment} | {row.opponent} | {row.ratio:.2f} | {row.searches} "
            f"| {row.p:.2g} | {row.p_holm:.2g} | {'yes' if row.is_shown else 'no'} |"
            for row in rows
        ),
        "",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 where all of it finished, 2 for an unknown step."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="a step; repeatable")
    parser.add_argument("--skip", action="append", default=[], metavar="NAME", help="repeatable")
    parser.add_argument("--list", action="store_true", help="name the steps and end")
    parser.add_argument(
        "--openings", action="store_true", help="copy openings of test data and end"
    )
    options = parser.parse_args(arguments)
    all_steps = list(claims.steps())
    known = {step.name for step in all_steps}
    for name in [*(options.only or []), *options.skip]:
        if name not in known:
            print(f"error: no step {name}; known: {', '.join(sorted(known))}", file=sys.stderr)
            return 2
    if options.list:
        print("\n".join(f"{step.name}: {step.claim}" for step in all_steps))
        return 0
    print(f"openings of test data copied: {keep_openings()}", flush=True)
    if options.openings:
        return 0
    failed = 0
    for step in all_steps:
        if step.name in options.skip or (options.only and step.name not in options.only):
            continue
        if read(EVIDENCE / step.name / "step.json").get("status") == "finished":
            print(f"{step.name}: finished before", flush=True)
            continue
        print(f"{step.name}:", flush=True)
        outcome = run(step)
        failed += outcome["status"] != "finished"
        print(f"  {outcome['figure']} ({outcome['seconds']:.0f} s)", flush=True)
        write_table(all_steps)
        keep_openings()
    print(write_table(all_steps))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
