"""Start-up: the help text and the import of the package, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.suite.measure import Result, Row, in_turn, medians

SIDES = {
    "python -c pass": ("-c", "pass"),
    "import pareto_rec": ("-c", "import pareto_rec"),
    "pareto-rec --help": ("-m", "pareto_rec", "--help"),
    "import torch": ("-c", "import torch"),
}


def _call(arguments: Sequence[str]) -> bytes:
    done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return done.stdout


def run(*, quick: bool) -> Result:
    """Return the median seconds of whole processes, in turn.

    Args:
        quick: Fewer rounds.
    """
    shown = _call(SIDES["pareto-rec --help"])
    if b"Usage: pareto-rec" not in shown or _call(("-m", "pareto_rec")) != shown:
        raise AssertionError("the help text is not what `pareto-rec` alone shows")
    sides = {name: (lambda a=arguments: _call(a)) for name, arguments in SIDES.items()}
    seconds = in_turn(sides, 3 if quick else 11)
    middle = medians(seconds)
    bare = middle["python -c pass"]
    rows: list[Row] = [
        {
            "what": name,
            "seconds": round(value, 3),
            "fastest": round(min(seconds[name]), 3),
            "beyond the bare interpreter": round(value - bare, 3),
        }
        for name, value in middle.items()
    ]
    notes = ["Whole processes, files in the operating system's cache."]
    return Result("start", "`pareto-rec` and `pareto-rec --help` print the same", rows, notes)
