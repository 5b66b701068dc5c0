"""From a run to a bundle that was checked: lists and objectives of every form."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pareto_rec.bundle import files
from pareto_rec.bundle.bundle import Bundle
from pareto_rec.bundle.check import (
    Agreement,
    check_records,
    latencies,
    measure_form,
    read_anew,
    verify_lists,
)
from pareto_rec.bundle.collect import gathered
from pareto_rec.bundle.data import BundleData
from pareto_rec.bundle.folders import check_vacant, new_folder
from pareto_rec.bundle.onnx_backend import OnnxBackend
from pareto_rec.bundle.onnx_export import check_onnx, export_graphs
from pareto_rec.bundle.points import points_of
from pareto_rec.bundle.refit import refit
from pareto_rec.bundle.source import Run, check_exported, chosen_rows
from pareto_rec.bundle.store import finish, read_parts, write_files
from pareto_rec.ranking.backends import TorchBackend

Progress = Callable[[str], None]
Values = dict[str, dict[str, float]]


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        point: Id of the operating point; None: the latest pick. With `front`, the default.
        front: Whether all points of the front are wanted.
        onnx: Whether ONNX graphs are.
        int8: Whether ONNX graphs with int8 weights are.
        refit: Whether the points are trained again on all data.
    """

    point: str | None = None
    front: bool = False
    onnx: bool = False
    int8: bool = False
    refit: bool = False

    @property
    def forms(self) -> tuple[str, ...]:
        """Forms beside fp32."""
        return ("onnx",) * self.onnx + ("int8",) * self.int8


def export_run(
    path: Path,
    to: Path,
    wanted: ExportOptions,
    *,
    cache: Path,
    on_progress: Progress = lambda _: None,
) -> Bundle:
    """Export points of a run, check them, and write a bundle.

    Args:
        path: The run directory.
        to: Where to write; must not exist, or be empty. It appears whole or not at all.
        wanted: What the bundle shall hold.
        cache: Root of the cache.
        on_progress: Called with a few words about each step as it begins.

    Returns:
        The bundle, loaded from `to`.

    Raises:
        BadRequestError: If the request is wrong; nothing is written then.
        RunFailedError: If the bundle's lists or objectives are not the run's.
    """
    if wanted.forms:
        check_onnx()
    check_vacant(to)
    run = Run.read(path, cache)
    rows, default = chosen_rows(run, wanted.point, front=wanted.front)
    records = run.records()
    for row in rows:
        key = str(row["id"]), str(row["fit"]), int(row["seed"])
        check_exported(key[0], records[key]["members"])
    on_progress("reading data")
    points = points_of(run, rows)
    on_progress("fitting experts")
    parts = gathered(run, points, default)
    parts = _with_about(parts, forms=["fp32", *wanted.forms])
    with new_folder(to) as temporary:
        folder = temporary / "bundle"
        parts = _checked(folder, run, parts, wanted, on_progress)
        if wanted.refit:
            shutil.rmtree(folder)
            on_progress("training again on all data")
            parts = _again(folder, run, parts, wanted)
        for entry in folder.iterdir():
            entry.rename(temporary / entry.name)
        folder.rmdir()
        finish(temporary, parts)
    on_progress("reading it back")
    return Bundle.load(to)


def _with_about(parts: BundleData, **changed: object) -> BundleData:
    return replace(parts, about=parts.about.model_copy(update=changed))


def _written(folder: Path, parts: BundleData, wanted: ExportOptions) -> Bundle:
    """Return the bundle as it lies on disk, with its graphs."""
    folder.mkdir()
    write_files(folder, parts)
    finish(folder, parts, card="")
    bundle = Bundle(read_parts(folder), folder=folder)
    if wanted.forms:
        assert isinstance(bundle.engine.form, TorchBackend)
        export_graphs(
            folder, bundle.parts, bundle.engine.form.heads, onnx=wanted.onnx, int8=wanted.int8
        )
        files.seal(folder)
    return bundle


def _checked(
    folder: Path, run: Run, parts: BundleData, wanted: ExportOptions, on_progress: Progress
) -> BundleData:
    """Write a bundle of what the run found, and measure all of its forms."""
    on_progress("writing")
    bundle = _written(folder, parts, wanted)
    about, evaluator = parts.about, run.experiment.evaluator()
    on_progress("comparing lists with the run's")
    agreed = verify_lists(bundle, evaluator, about.k)
    on_progress("measuring fp32")
    values, _ = measure_form(bundle.engine, evaluator, about.k, about.points)
    check_records(values, about.points)
    forms: dict[str, Values] = {"fp32": values}
    agreement = {"fp32": _agreement_values(agreed) | latencies(bundle)}
    for name in wanted.forms:
        on_progress(f"measuring {name}")
        served = Bundle.load(folder, form=name)
        forms[name], agreed = measure_form(served.engine, evaluator, about.k, about.points)
        agreement[name] = _agreement_values(agreed) | latencies(served)
        if run.experiment.config.backbone.text and parts.fits:
            assert isinstance(served.engine.form, OnnxBackend)
            engine, cosine = read_anew(bundle.parts, served.engine.form)
            forms[f"{name}, text"], _ = measure_form(engine, evaluator, about.k, about.points)
            agreement[name]["text_cosine"] = cosine
    points = [
        point.model_copy(
            update={"forms": {name: by_point[point.id] for name, by_point in forms.items()}}
        )
        for point in about.points
    ]
    return _with_about(parts, points=points, agreement=agreement)


def _agreement_values(agreed: Agreement) -> dict[str, float]:
    return {"same_lists": agreed.same, "ties": float(agreed.ties)}


def _again(folder: Path, run: Run, parts: BundleData, wanted: ExportOptions) -> BundleData:
    """Write a bundle of points trained again, and compare its lists with the trainer's."""
    parts, evaluator = refit(run, parts)
    bundle = _written(folder, parts, wanted)
    verify_lists(bundle, evaluator, parts.about.k)
    return parts
