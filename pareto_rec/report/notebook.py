"""Runs in a notebook: tables as frames, the answer as rich text, plots as figures."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.wording import thousand_fold
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.view import Axis, RunView

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Kind = Literal["front", "convergence"]


@dataclass(frozen=True)
class Run:
    """A run directory, read once.

    Attributes:
        view: Everything that the report page shows of it.
    """

    view: RunView

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a run directory; a run that goes on is read as far as it is.

        Args:
            path: ``results/<experiment>/<run>``.

        Raises:
            BadRequestError: If it is not a run directory, or a file is missing or damaged.
        """
        return cls(read_run(Path(path)))

    @property
    def records(self) -> pd.DataFrame:
        """One row per record in the order of the search.

        Columns: ``id``, ``fit``, ``seed``, ``generation``, ``position``, ``origin``, ``status``,
        ``reason``, ``elapsed_s``, the objectives in natural units, ``train.*`` and ``serve.*``.
        """
        return self.view.records

    @property
    def front(self) -> pd.DataFrame:
        """One row per point of the front, best by the first objective first.

        Columns: ``id``, ``selected``, ``fit``, ``seed``, the objectives on validation data,
        ``train.*`` and ``serve.*``.
        """
        return self.view.front

    @property
    def baselines(self) -> pd.DataFrame:
        """One row per baseline setting.

        Columns: ``expert``, ``id``, ``on_front``, the objectives and ``serve.*``.
        """
        return self.view.baselines

    @property
    def info(self) -> Mapping[str, Any]:
        """Content of run.json: seeds, versions, hashes, counts, seconds, hypervolumes."""
        return self.view.info

    @cached_property
    def confirmed(self) -> pd.DataFrame | None:
        """Results of ``confirm``, one row per confirmed point; None before it has run.

        Columns: ``front``, ``id``, ``non_dominated`` (probability on test data among its own
        front's points), ``non_dominated_all`` (among all fronts'), and per stage and objective
        ``<stage>.<name>`` (mean over fresh seeds), ``.low`` and ``.high``.
        """
        import pandas as pd

        confirmed = self.view.confirmed
        if confirmed is None or not confirmed.finished:
            return None
        rows = []
        for point in confirmed.points:
            row: dict[str, Any] = {
                "front": point.front,
                "id": point.id,
                "non_dominated": point.non_dominated,
                "non_dominated_all": point.non_dominated_all,
            }
            for stage, values in point.values.items():
                for name, ends in values.items():
                    keys = (f"{stage}.{name}{end}" for end in ("", ".low", ".high"))
                    row |= dict(zip(keys, ends, strict=True))
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self, kind: Kind = "front", *, x: str | None = None, y: str | None = None) -> Figure:
        """Return a figure of matplotlib.

        Args:
            kind: ``"front"``: every pair of searched objectives, or the pair `x` and `y`;
                ``"convergence"``: the hypervolume as the search went on.
            x: Objective across, searched or reported; only with `y`.
            y: Objective up.

        Raises:
            BadRequestError: If there is no such kind or objective, or only one of two is given.
        """
        from pareto_rec.report.plots.figures import plot_convergence, plot_front

        if kind not in ("front", "convergence"):
            raise unknown("kind of plot", kind, ("front", "convergence"))
        if (x is None) != (y is None):
            raise BadRequestError("give plot both x and y, or neither for all pairs")
        if kind == "convergence":
            if x is not None:
                raise BadRequestError('x and y belong to plot("front"); leave them out')
            return plot_convergence(self.view)
        pair = None if x is None or y is None else (self._axis(x), self._axis(y))
        return plot_front(self.view, pair)

    def _axis(self, name: str) -> Axis:
        named = {axis.name: axis for axis in (*self.view.axes, *self.view.reported)}
        if name not in named:
            raise unknown("objective of this run", name, named)
        return named[name]

    def __repr__(self) -> str:
        volume = self.view.hypervolumes.front
        known = "" if volume is None else f", hypervolume x 1000: {thousand_fold(volume)}"
        status = self.view.info.get("status", "unknown")
        return (
            f"<Run {self.view.title} ({status}): {len(self.records):,} records, "
            f"{len(self.front):,} points on the front{known}>"
        )

    def _repr_html_(self) -> str:
        """Return the answer, what it does not say, and the selected points."""
        from pareto_rec.report.answer import answer, caveat

        status = html.escape(str(self.view.info.get("status", "unknown")))
        chosen = self.front[self.front["selected"]]
        table = chosen[["id", *self.view.names]].to_html(
            index=False, border=0, float_format="{:.4f}".format, escape=True
        )
        return (
            f"<h4>{html.escape(self.view.title)} ({status})</h4>"
            f"<p>{html.escape(' '.join(answer(self.view)))}</p>"
            f"<p><small>{html.escape(caveat(self.view))}</small></p>"
            f"<p>The {len(chosen)} points that keep the most hypervolume, on validation data:</p>"
            f"{table}"
        )
