"""Verification of a run directory: files against checksums and against each other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pareto_rec.core.checksums import is_whole, sha256_of
from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.confirmation import JSON, read_confirmed, read_content
from pareto_rec.runs.earlier_openings import earlier_openings
from pareto_rec.runs.files import read_controls, read_lists, read_object
from pareto_rec.runs.heartbeat import status_of
from pareto_rec.runs.lines import RECORDS, Lines, is_signed, read_lines
from pareto_rec.runs.openings import Opening, ledgers, read_openings
from pareto_rec.runs.reader import axes_of, read_front
from pareto_rec.runs.view import Axis
from pareto_rec.search import pareto as front

State = Literal["good", "unknown", "bad"]
_SAME = 1e-9  # most that a hypervolume computed again may differ, relative


@dataclass(frozen=True)
class Finding:
    """Finding about one file of a run.

    Attributes:
        file: Its name.
        state: ``"good"``: as it was written. ``"bad"``: changed, damaged or missing. ``"unknown"``:
            it carries nothing to hold it against.
        says: In words.
    """

    file: str
    state: State
    says: str


def check_run(run: Path) -> list[Finding]:
    """Check every file of a run directory; nothing is changed.

    Args:
        run: The run directory.

    Raises:
        BadRequestError: If it holds neither run.json nor records.
    """
    if not (run / "run.json").is_file() and not (run / RECORDS).is_file():
        raise BadRequestError(
            f"{run} is not a run directory (neither run.json nor {RECORDS}); name one that "
            "`pareto-rec search` wrote, such as results/<experiment>/<run>"
        )
    info, findings = _info(run)
    lines = _lines(run, info)
    findings += _of_lines(run, info, lines)
    findings += list(_of_front(run, info, lines)) if info and lines else []
    findings += list(_of_named_files(run, info))
    findings += list(_of_fits(run, info))
    return [*findings, *_of_own_checksums(run), *_of_opening(run)]


def _info(run: Path) -> tuple[Mapping[str, Any], list[Finding]]:
    """Return the content of run.json, as far as it can be believed, and what is known of it."""
    try:
        info = read_object(run / "run.json")
    except BadRequestError as error:
        return {}, [Finding("run.json", "bad", str(error))]
    if is_whole(info):
        return info, [Finding("run.json", "good", "as it was written")]
    if is_signed(info):
        return {}, [Finding("run.json", "bad", "it has lost its checksum")]
    return info, [Finding("run.json", "unknown", "it has no checksum: an older version wrote it")]


def _lines(run: Path, info: Mapping[str, Any]) -> Lines | None:
    try:
        return read_lines((run / RECORDS).read_bytes(), signed=is_signed(info))
    except OSError:
        return None


def _of_lines(run: Path, info: Mapping[str, Any], lines: Lines | None) -> list[Finding]:
    if lines is None:
        return [Finding(RECORDS, "bad", "it is missing or cannot be read")]
    findings = [
        Finding(RECORDS, "bad", f"line {line.number}: {line.problem}")
        for line in lines.lines
        if line.problem
    ]
    stored, count = len(lines.lines), (info.get("counts") or {}).get("records")
    ended = status_of(run / RECORDS, info) in ("finished", "interrupted", "failed")
    if ended and count is not None and stored != count:
        findings.append(
            Finding(RECORDS, "bad", f"{stored:,} records, where run.json counts {count:,}")
        )
    if lines.torn:
        words = f"the last line was cut short ({lines.torn} bytes); every command leaves it out"
        findings.append(Finding(RECORDS, "unknown", words))
    if lines.unsigned:
        words = f"{lines.unsigned:,} of {stored:,} records have no checksum"
        findings.append(Finding(RECORDS, "unknown", words))
    elif not any(finding.state == "bad" for finding in findings):
        findings.insert(0, Finding(RECORDS, "good", f"{stored:,} records, each as it was written"))
    return findings


def _of_front(run: Path, info: Mapping[str, Any], lines: Lines) -> Iterator[Finding]:
    """Check front.csv against the valid records, and the hypervolume against both."""
    believed = [line.entry for line in lines.lines if not line.problem]
    try:
        axes, reported = axes_of(info, run / "run.json")
        names = [axis.name for axis in (*axes, *reported)]
        rows, _ = read_front(run, axes, names, lambda: believed)
    except BadRequestError as error:
        yield Finding("front.csv", "bad", str(error))
        return
    yield Finding("front.csv", "good", f"{len(rows):,} points, each as in its record")
    if status_of(run / RECORDS, info) not in ("finished", "interrupted", "failed"):
        return  # it may be a generation behind its records
    if not any(line.problem for line in lines.lines):
        known = {str(entry["id"]) for entry in _non_dominated(believed, axes)}
        differing = known ^ set(rows["id"].astype(str))
        if differing:
            words = f"its points are not the non-dominated records: {', '.join(sorted(differing))}"
            yield Finding("front.csv", "bad", words)
    volume = (info.get("hypervolume") or {}).get("front")
    values = rows[[axis.name for axis in axes]].to_numpy(dtype=np.float64)
    recomputed = _hypervolume(values, axes)
    if volume is not None and not math.isclose(volume, recomputed, rel_tol=_SAME, abs_tol=1e-15):
        words = f"it says hypervolume {volume:.6g}, and its front has {recomputed:.6g}"
        yield Finding("run.json", "bad", words)


def _non_dominated(
    entries: list[Mapping[str, Any]], axes: tuple[Axis, ...]
) -> list[Mapping[str, Any]]:
    usable = [entry for entry in entries if entry["status"] == "ok" and _is_feasible(entry, axes)]
    if not usable:
        return []
    values = np.array([[entry["objectives"][axis.name] for axis in axes] for entry in usable])
    keep = front.non_dominated(values, maximise=[axis.maximise for axis in axes])
    return [entry for entry, is_best in zip(usable, keep, strict=True) if is_best]


def _is_feasible(entry: Mapping[str, Any], axes: tuple[Axis, ...]) -> bool:
    for axis in axes:
        value = entry["objectives"].get(axis.name)
        if value is None:
            return False
        if axis.at_least is not None and value < axis.at_least:
            return False
        if axis.at_most is not None and value > axis.at_most:
            return False
    return True


def _hypervolume(values: np.ndarray[Any, Any], axes: tuple[Axis, ...]) -> float:
    if not len(values):
        return 0.0
    reference = [math.nan if axis.reference is None else axis.reference for axis in axes]
    maximise = [axis.maximise for axis in axes]
    return float(front.hypervolume(values, reference=reference, maximise=maximise))


def _of_named_files(run: Path, info: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield files whose checksums run.json holds."""
    for name, checksum in (info.get("files") or {}).items():
        path = run / name
        if not path.is_file():
            yield Finding(name, "bad", "it is missing")
        elif sha256_of(path) != checksum:
            yield Finding(name, "bad", "its checksum in run.json is another: it was changed")
        else:
            yield Finding(name, "good", "as the search wrote it")
    for name in ("config.toml", "baselines.csv"):
        if name not in (info.get("files") or {}):
            there = (run / name).is_file()
            words = "run.json holds no checksum of it" if there else "it is missing"
            yield Finding(name, "unknown" if there else "bad", words)


def _of_fits(run: Path, info: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield fits that run.json does not name, by the checksums within them."""
    named = info.get("files") or {}
    paths = sorted((run / "fits").glob("*.safetensors"))
    rest = [path for path in paths if f"fits/{path.name}" not in named]
    if not rest:
        return
    from pareto_rec.training.fit_store import read_tensors

    for path in rest:
        intact = read_tensors(path) is not None
        words = "as it was trained" if intact else "it is damaged, or another fit's"
        yield Finding(f"fits/{path.name}", "good" if intact else "bad", words)


def _of_own_checksums(run: Path) -> Iterator[Finding]:
    """Yield files that carry a checksum of their own, and what they name."""
    readers = {
        "lists.json": read_lists,
        JSON: read_confirmed,
        "controls.json": read_controls,
        "picks.json": read_object,
    }
    for name, read in readers.items():
        path = run / name
        if not path.is_file():
            continue
        try:
            read(path)
            content = json.loads(path.read_text(encoding="utf-8"))
        except (BadRequestError, OSError, ValueError) as error:
            yield Finding(name, "bad", str(error))
            continue
        if is_whole(content):
            yield Finding(name, "good", "as it was written")
        elif name != "lists.json":  # whose checksum run.json holds
            yield Finding(name, "unknown", "it has no checksum: an older version wrote it")
        for other, checksum in (content.get("files") or {}).items():
            same = (run / other).is_file() and sha256_of(run / other) == checksum
            words = f"as {name} names it" if same else f"it is not the one that {name} names"
            yield Finding(other, "good" if same else "bad", words)


def _of_opening(run: Path) -> Iterator[Finding]:
    """Hold the confirmation against the ledger of test data."""
    try:
        entry = (read_content(run / JSON) or {}).get("opening")
    except BadRequestError:  # said before
        return
    if entry is None:
        return
    paths = ledgers()
    try:
        one, known = Opening.of(entry), read_openings(paths)
    except (BadRequestError, ValueError) as error:
        yield Finding(paths[0].name, "bad", str(error))
        return
    before = earlier_openings(one, known)
    if before.void:
        yield Finding(JSON, "bad", before.void)
    if one.id in {other.id for other in known}:
        yield Finding(paths[0].name, "good", before.says or "test data had not been opened before")
    else:
        words = f"{' and '.join(map(str, paths))} do not hold the opening of {one.at[:10]}"
        yield Finding(paths[0].name, "unknown", words)
