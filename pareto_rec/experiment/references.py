"""Policies that fits may be kept to: the most accurate fit of a finished run on the same data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pareto_rec.baselines import BASELINES
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.paths import file_sha256
from pareto_rec.data.schema import Stage
from pareto_rec.experiment.config import Config, load_config
from pareto_rec.runs.reader import read_run
from pareto_rec.runs.record import fit_ids
from pareto_rec.runs.view import RunView
from pareto_rec.training.data import Fit
from pareto_rec.training.fit_store import FitStore


@dataclass(frozen=True)
class Reference:
    """A fit that others are kept to.

    Attributes:
        fit: The fit.
        sha256: Of its file; part of what identifies the fits that are kept to it.
    """

    fit: Fit
    sha256: str


def read_references(config: Config, searched: Stage, features: str) -> Mapping[str, Reference]:
    """The fits that ``[references]`` names.

    Args:
        config: The experiment; its references are run directories by name.
        searched: The stage that the experiment searches on, whatever is evaluated now.
        features: Key of the features that its models read.

    Raises:
        BadRequestError: If a name is an expert's, or a run is not finished, was computed from other
            data or features, or lacks the fit.
    """
    found = {}
    for name, folder in config.references.items():
        where = f"references.{name}: {folder}"
        if name in BASELINES:
            raise BadRequestError(f'references.{name}: "{name}" is an expert; take another name')
        view = read_run(Path(folder))
        _check(where, view, config, {"stage": searched.content_hash, "features": features})
        found[name] = _most_accurate(where, view)
    return found


def _check(where: str, view: RunView, config: Config, hashes: Mapping[str, str]) -> None:
    status = view.info.get("status")
    if status != "finished":
        raise BadRequestError(f"{where} is not finished ({status}); resume it first")
    said, theirs = view.info.get("hashes") or {}, load_config(view.path).backbone
    differing = [name for name, value in hashes.items() if said.get(name) != value]
    differing += [
        f"backbone.{name}"
        for name in ("components", "text")
        if getattr(theirs, name) != getattr(config.backbone, name)
    ]
    if differing:
        raise BadRequestError(
            f"{where} was computed from another {', '.join(differing)} than this experiment; name "
            "a run on the same data and backbone"
        )


def _most_accurate(where: str, view: RunView) -> Reference:
    """The network of the front's point that is best by the first objective."""
    first, rows = view.axes[0], view.front[[len(fit_ids(fit)) == 1 for fit in view.front["fit"]]]
    if rows.empty:
        raise BadRequestError(
            f"{where} has no point with one network on its front; name another run"
        )
    fit_id = str(rows.sort_values(first.name, ascending=not first.maximise)["fit"].iloc[0])
    store = FitStore(view.path / "fits", "")
    fit = store.get(fit_id)
    if fit is None:
        raise BadRequestError(
            f"{where}: {store.path(fit_id).name} is missing or damaged in its fits; search again"
        )
    return Reference(fit, file_sha256(store.path(fit_id)))
