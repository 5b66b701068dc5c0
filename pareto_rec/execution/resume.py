"""Resuming a run: the comparison of its stored config and data with those given now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pareto_rec.core.checksums import is_whole, sha256_of
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.provenance import versions
from pareto_rec.execution.tuned import with_choices_of
from pareto_rec.experiment.config import AnyConfig, Config, load_any_config
from pareto_rec.experiment.identity import config_differences, info_differences, refuse
from pareto_rec.runs.directory import CONFIG, INFO
from pareto_rec.runs.lines import RECORDS, is_signed


def is_begun(run: Path) -> bool:
    """Tell whether a search has written to a directory, so that it can be resumed."""
    return (run / RECORDS).exists()


def newest_run(results: Path) -> Path | None:
    """Return the run directory below `results` that was written to last."""
    runs = [path.parent for path in results.glob(f"*/{RECORDS}")]
    return max(runs, key=lambda run: (run / RECORDS).stat().st_mtime_ns, default=None)


def earlier_info(run: Path, config: AnyConfig, code: str) -> dict[str, Any]:
    """Return what run.json says; checks what can be checked before data is read.

    Args:
        run: A directory in which a search has begun.
        config: What to go on with.
        code: Key of the code that decides records.

    Returns:
        Empty if the search was stopped before it had written down anything.

    Raises:
        BadRequestError: If the config, the packages or the code would lead to other records, or
            run.json or config.toml is missing or damaged.
    """
    if not (run / INFO).exists() and not (run / RECORDS).stat().st_size:
        return {}
    try:
        info = json.loads((run / INFO).read_text(encoding="utf-8"))
        if not isinstance(info, dict):
            raise ValueError("it is not a table")
        if not (is_whole(info) or (is_whole(info) is None and not is_signed(info))):
            raise ValueError("it is not what its checksum says: it was changed")
        stated = info.get("files", {}).get(CONFIG)
        if stated not in (None, sha256_of(run / CONFIG)):
            raise ValueError(f"{CONFIG} is not the one that it names")
    except (OSError, ValueError) as error:
        raise BadRequestError(
            f"{run / INFO} cannot be read ({error}), so nothing says what the run was begun with; "
            "put it back from a copy, or begin a new run"
        ) from None
    now = {"versions": versions(), "hashes": {"code": code}}
    stored = load_any_config(run / CONFIG)
    given = with_choices_of(run, info, config) if isinstance(config, Config) else config
    differences = config_differences(stored, given)
    refuse(run, differences + info_differences(info, now))
    return info


def merged_info(run: Path, earlier: Mapping[str, Any], now: Mapping[str, Any], torn: int) -> Any:
    """Return what run.json says from now on; checks data, features and device.

    Args:
        run: Named where something differs.
        earlier: What it said; empty for a run that begins.
        now: What it would say of a run that begins.
        torn: Bytes that were cut off the store.

    Raises:
        BadRequestError: If the data, the features or the device are others.
    """
    if not earlier:
        return dict(now)
    refuse(run, info_differences(earlier, now))
    before = earlier.get("resumed", {})
    resumed = {
        "times": before.get("times", 0) + 1,
        "torn_bytes": before.get("torn_bytes", 0) + torn,
    }
    return {**now, "counts": earlier.get("counts", {}), "resumed": resumed}
