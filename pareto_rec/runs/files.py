"""Readers of text and JSON files of a run directory; errors are one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pareto_rec.core.checksums import is_whole, sha256_of
from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.heartbeat import status_of
from pareto_rec.runs.lines import RECORDS, is_signed

ANEW = "run the search again"


def read_text(path: Path) -> str:
    """Return the content of a file.

    Raises:
        BadRequestError: If it is missing or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadRequestError(
            f"{path} is missing; run the search again, or name a complete run directory"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequestError(f"{path} cannot be read: {error}") from None


def read_object(path: Path, advice: str = ANEW) -> Mapping[str, Any]:
    """Return a JSON object, held against its checksum where it carries one.

    Args:
        path: The file.
        advice: What to do where it is damaged.

    Raises:
        BadRequestError: If it is missing, cannot be read, or is none.
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise BadRequestError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg}); {advice}"
        ) from None
    if not isinstance(content, dict):
        raise BadRequestError(f"{path} does not hold a JSON object; {advice}")
    if is_whole(content) is False:
        raise BadRequestError(
            f"{path} is not what its checksum says: it was changed after it was written; put it "
            "back from a copy: `pareto-rec check` says what else can be trusted"
        )
    return content


def read_info(run: Path) -> Mapping[str, Any]:
    """Return the content of run.json; the status of a run whose writer has died says so.

    Raises:
        BadRequestError: If there is none, it is damaged, or was changed.
    """
    path = run / "run.json"
    if not path.is_file():
        raise BadRequestError(
            f"{run} is not a run directory (no run.json); "
            "name one that `pareto-rec search` wrote, such as results/<experiment>/<run>"
        )
    info = read_object(path)
    if is_signed(info) and is_whole(info) is None:
        raise BadRequestError(f"{path} has lost its checksum; put it back from a copy")
    return {**info, "status": status_of(run / RECORDS, info)}


def check_file(
    run: Path,
    name: str,
    info: Mapping[str, Any],
    advice: str = "put it back from a copy, or search with --resume, which writes it anew",
) -> None:
    """Hold a file against its checksum in another, where that has one.

    Args:
        run: The run directory.
        name: The file.
        info: Content of run.json, or of another file that holds checksums.
        advice: What to do where it was changed.

    Raises:
        BadRequestError: If it was changed.
    """
    stored = (info.get("files") or {}).get(name)
    if stored is not None and (run / name).is_file() and sha256_of(run / name) != stored:
        raise BadRequestError(
            f"{run / name} is not the file that was written (its checksum is another): it was "
            f"changed; {advice}"
        )


def read_controls(path: Path) -> tuple[str, ...]:
    """Return sentences of controls.json, in the order in which the controls were run.

    Raises:
        BadRequestError: If the file is there and damaged.
    """
    if not path.is_file():
        return ()
    advice = "remove it, or run the controls again"
    try:
        return tuple(str(row["says"]) for row in read_object(path, advice)["controls"])
    except (KeyError, TypeError) as error:
        raise BadRequestError(f"{path} is damaged ({error!r}); {advice}") from None


def read_lists(path: Path) -> Mapping[str, Any] | None:
    """Return the content of lists.json; ``None`` where the run has none.

    Raises:
        BadRequestError: If the file is there and damaged.
    """
    if not path.is_file():
        return None
    advice = "remove it to do without the lists, or run the search again"
    content = read_object(path, advice)
    try:
        users, items = content["users"], content["items"]
        for user in users:
            _known([*user["last"], *user["held_out"]], items)
            _ = user["id"], int(user["history"])
        for rows in content["lists"].values():
            if len(rows) != len(users):
                raise ValueError(f"{len(rows)} lists for {len(users)} users")
            for row in rows:
                _known(row, items)
        for item in items.values():
            _ = str(item["title"]), [*item["categories"]], int(item["popularity"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRequestError(f"{path} is damaged ({error!r}); {advice}") from None
    return content


def _known(ids: Sequence[str], items: Mapping[str, Any]) -> None:
    for one in ids:
        if one not in items:
            raise KeyError(one)
