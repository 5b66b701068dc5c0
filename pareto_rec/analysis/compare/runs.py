"""Runs that may be compared: same data, same split, same objectives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto_rec.analysis.bootstrap import Floats
from pareto_rec.core.errors import BadRequestError
from pareto_rec.experiment.config import load_config
from pareto_rec.runs.files import check_file
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.set_values import SetValues, read_set_values
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
    def front(self) -> Floats:
        """Searched objectives of its front ``[points, objectives]``."""
        return self.view.values(self.view.front)

    @cached_property
    def experiment(self) -> str:
        """The config without its seed, as text: runs that share it differ by chance alone."""
        return json.dumps({k: v for k, v in self.config.items() if k != "seed"}, sort_keys=True)

    @cached_property
    def selected(self) -> list[str]:
        """Ids of the selected points of its front."""
        front = self.view.front
        return [str(key) for key in front.loc[front["selected"], "id"]]

    @cached_property
    def sets(self) -> Mapping[str, SetValues] | None:
        """What its set objectives are resampled from; None where the run has no such file.

        Raises:
            BadRequestError: If the file is damaged, or of another format.
        """
        return read_set_values(self.view.path, self.view.info)

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
