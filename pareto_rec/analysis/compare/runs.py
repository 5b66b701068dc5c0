"""Runs that may be compared: same data, same split, same objectives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.analysis.bootstrap import Floats
from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.config import load_config
from pareto_rec.runs.files import check_file
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.view import RunView

if TYPE_CHECKING:
    import pandas as pd

PER_USER = "per_user/front.parquet"
_SAME = (  # what is called how, and where in a config it stands
    ("data", "data", "name"),
    ("data", "data", "relevance"),
    *(("splits", "split", key) for key in ("kind", "validation", "test", "seed")),
    ("evaluated users", "evaluate", "users"),
)
_AIM = ("name", "maximise", "reference", "at_least", "at_most")


@dataclass(frozen=True)
class Compared:
    """One run among those that are compared.

    Attributes:
        label: Its directory, as it was given.
        view: What its files say.
        config: The resolved config.
    """

    label: str
    view: RunView
    config: Mapping[str, Any]  # TOML of several shapes

    @property
    def front(self) -> NDArray[np.float64]:
        """Searched objectives of its front ``[points, objectives]``."""
        return self.view.values(self.view.front)

    @cached_property
    def experiment(self) -> str:
        """The config without its seed, as text: runs that share it differ by chance alone."""
        return json.dumps({k: v for k, v in self.config.items() if k != "seed"}, sort_keys=True)

    def per_user(self) -> pd.DataFrame | None:
        """Return values per user of the front's points; None where the run has none.

        Raises:
            BadRequestError: If the file is damaged.
        """
        import pandas as pd

        path = self.view.path / PER_USER
        if not path.is_file():
            return None
        check_file(self.view.path, PER_USER, self.view.info)
        try:
            return pd.read_parquet(path)
        except (
            Exception
        ) as error:  # the Parquet reader raises errors of many kinds for a damaged file
            reason = str(error).splitlines()[0]
            raise BadRequestError(
                f"{path} is damaged ({reason}); remove it to compare without intervals"
            ) from None


def read_runs(paths: Sequence[Path]) -> list[Compared]:
    """Read runs and refuse those that cannot be compared.

    Args:
        paths: Run directories, at least two different ones.

    Raises:
        BadRequestError: If there are too few, one is damaged or has no front yet, or their data,
            split or objectives differ; the message says which and how.
    """
    if len({path.resolve() for path in paths}) < max(len(paths), 2):
        raise BadRequestError(
            "a comparison needs two different runs at least: name more run directories"
        )
    runs = []
    for path in paths:
        view = read_run(path)
        if view.front.empty:
            raise BadRequestError(f"{path} has no front yet; let its search go on, or leave it out")
        runs.append(Compared(str(path), view, load_config(path).model_dump(mode="json")))
    for other in runs[1:]:
        difference = _difference(runs[0], other)
        if difference:
            raise BadRequestError(
                f"{other.label} cannot be compared with {runs[0].label}: {difference}"
            )
    return runs


def _difference(first: Compared, second: Compared) -> str | None:
    """Return why two runs answer different questions; None where they answer the same."""
    for name, section, key in _SAME:
        mine, theirs = (run.config.get(section, {}).get(key) for run in (first, second))
        if mine != theirs:
            return f"its {name} differ: {section}.{key} = {theirs!r}, not {mine!r}"
    mine, theirs = (str(run.view.info.get("hashes", {}).get("stage")) for run in (first, second))
    if mine != theirs:
        return f"its data differ under the same name: hash {theirs[:12]}, not {mine[:12]}"
    return _other_aims(
        [_aim(axis) for axis in first.view.axes], [_aim(a) for a in second.view.axes]
    )


def _other_aims(
    mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> str | None:
    names = [", ".join(str(aim["name"]) for aim in aims) for aims in (mine, theirs)]
    if names[0] != names[1]:
        return f"its objectives differ: {names[1]}, not {names[0]}"
    for first, second in zip(mine, theirs, strict=True):
        for key in _AIM:
            if first[key] != second[key]:
                what = f"{key} of {first['name']} is {second[key]}, not {first[key]}"
                return f"its objectives differ: {what}"
    return None


def _aim(axis: object) -> dict[str, Any]:
    return {key: getattr(axis, key) for key in _AIM}


def values_per_user(runs: Sequence[Compared]) -> tuple[list[Floats], list[str]] | str:
    """Return per-user values of the selected points of every run, users aligned.

    Args:
        runs: Comparable ones.

    Returns:
        For each run ``[points, users, objectives]`` and the users' ids; or why there are none.
    """
    names = runs[0].view.names
    tables = []
    for run in runs:
        frame = run.per_user()
        if frame is None:
            return f"{run.label} has no {PER_USER}"
        for name in names:
            if name not in frame:
                return f"{name} has no values per user: it is one number for all lists together"
        tables.append(frame)
    users = sorted(set(tables[0]["user"]))
    values = []
    for run, frame in zip(runs, tables, strict=True):
        chosen = run.view.front.loc[run.view.front["selected"], "id"].tolist()
        if sorted(set(frame["user"])) != users:
            return f"{run.label} was measured on other users"
        if not set(chosen) <= set(frame["id"]):
            return f"{run.label} has no values per user of some of its selected points"
        wide = frame[frame["id"].isin(chosen)].pivot(index="id", columns="user", values=names)
        wide = wide.loc[chosen]
        parts = [wide[name][users].to_numpy(dtype=np.float64) for name in names]
        values.append(np.stack(parts, axis=2))
    return values, users
