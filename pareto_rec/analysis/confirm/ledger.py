"""Results of a confirmation and the run's own openings: confirm.json and confirm.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.checksums import sha256_of, signed
from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.paths import swapped
from pareto_rec.core.provenance import provenance
from pareto_rec.runs.confirmation import CSV, DRAWS, JSON, read_ledger
from pareto_rec.runs.openings import now

FORMAT = 1


def openings(run: Path) -> list[str]:
    """Return the times at which test data was opened for a run, in order.

    Raises:
        BadRequestError: If confirm.json is damaged.
    """
    return [str(entry["at"]) for entry in read_ledger(run / JSON).get("opened", [])]


def note_opening(run: Path, seeds: int, at: str | None = None) -> None:
    """Write down that test data is opened now, before it is; what was found before stays.

    Args:
        run: The run directory.
        seeds: Number of fresh seeds.
        at: Time of the opening in the ledger of test data; None for the present one.

    Raises:
        BadRequestError: If confirm.json is damaged.
        RunFailedError: If it cannot be written.
    """
    before = {key: value for key, value in read_ledger(run / JSON).items() if key != "files"}
    entry = {
        "at": at or now(),
        "seeds": seeds,
        "git_commit": provenance("")["git_commit"],
        "finished": False,
    }
    opened = [*before.get("opened", []), entry]
    _write(run / JSON, {**before, "format": FORMAT, "status": "begun", "opened": opened})


def write(
    run: Path,
    content: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    draws: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
) -> tuple[Path, Path]:
    """Write what was found, and that the last opening has come to its end.

    Args:
        run: The run directory.
        content: Of confirm.json, without its openings.
        rows: Of confirm.csv.
        draws: Kind of front -> hypervolumes on test data under every draw ``[draws]``.

    Returns:
        confirm.json and confirm.csv.
    """
    *before, last = read_ledger(run / JSON)["opened"]
    opened = [*before, {**last, "finished": True}]
    head = {"format": FORMAT, "status": "finished", "opened": opened}
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _text(run / CSV, buffer.getvalue())
    _arrays(run / DRAWS, draws)
    files = {name: sha256_of(run / name) for name in (CSV, DRAWS)}
    _write(run / JSON, {**head, **content, "files": files})
    return run / JSON, run / CSV


def amend(run: Path, content: Mapping[str, Any]) -> Path:
    """Write more into the confirm.json of a finished confirmation, without opening anything."""
    _write(run / JSON, {**read_ledger(run / JSON), **content})
    return run / JSON


def _arrays(path: Path, arrays: Mapping[str, NDArray[np.float64]]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]  # names are its keywords
    _bytes(path, buffer.getvalue())


def _write(path: Path, content: Mapping[str, Any]) -> None:
    _text(path, json.dumps(signed(content), indent=2, allow_nan=False) + "\n")


def _text(path: Path, text: str) -> None:
    _bytes(path, text.encode("utf-8"))


def _bytes(path: Path, content: bytes) -> None:
    try:
        with swapped(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise RunFailedError(
            f"{path} cannot be written: {error.strerror}; free some "
            "space or mend the folder and confirm again: no fit is trained twice"
        ) from error
