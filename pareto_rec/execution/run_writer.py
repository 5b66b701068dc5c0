"""Writer of a run: records as they come, and the files that sum them up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pareto_rec.core.checksums import sha256_of
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.provenance import PeakMemory, provenance
from pareto_rec.evaluation.candidates import StoredFits
from pareto_rec.execution.callbacks import Counts
from pareto_rec.execution.searched import SearchedExperiment
from pareto_rec.execution.summary import baseline_rows, front_rows, hypervolume_of
from pareto_rec.runs.directory import CONFIG, INFO, RunDirectory
from pareto_rec.runs.heartbeat import writer
from pareto_rec.runs.lines import FORMAT
from pareto_rec.runs.record import Record, fit_ids
from pareto_rec.runs.set_values import FILE as SETS
from pareto_rec.search import Progress

SUMMED_UP = (
    *("front.csv", "baselines.csv", "lists.json"),
    *("per_user/front.parquet", "per_user/users.parquet", SETS),
)
"""Files whose checksums run.json holds once no process writes them any more, if they are there."""


SPARED = 4  # times as long as summing up took, that it is not done again


def checksums(run: Path, names: Iterable[str]) -> dict[str, str]:
    """Compute the SHA-256 of files of a run, by name; those that are not there are left out."""
    return {name: sha256_of(run / name) for name in names if (run / name).is_file()}


class RunWriter:
    """Keeps the files of one run up to date, so that a run killed at any moment can be read.

    Attributes:
        fits: Ids of the fits that have records.
        records: Records in the order in which they arrived.
        failed: How many of them failed.
        pruned: How many of them belong to fits that were stopped early.
        steps: Fit id -> training steps that it took, in any session.
        retried: Packs that were tried again.
        seconds: What took how long, in this session.
    """

    def __init__(
        self,
        run: RunDirectory,
        experiment: SearchedExperiment,
        store: StoredFits,
        info: Mapping[str, Any],
        before: Mapping[str, Any],
        began: float,
    ) -> None:
        """Set up the writer; the first file is written by :meth:`begin`.

        Args:
            run: Where to write.
            experiment: The experiment.
            store: Where the fits are.
            info: What run.json says from now on.
            before: What it said when the run was opened; empty for a new run.
            began: Seconds of ``time.perf_counter`` when the run began.
        """
        self._run, self._experiment, self._store, self._info = run, experiment, store, info
        self._before, self._began = before, began
        self._baselines: list[dict[str, Any]] = []
        self._history: list[Progress] = []
        self._memory = PeakMemory()
        self._written_at = self._write_seconds = 0.0
        self.records: list[Record] = []
        self.fits: set[str] = set()
        self.failed = self.pruned = 0
        self.steps: dict[str, int] = {}
        self.retried = int(info.get("counts", {}).get("retried", 0))
        self.seconds: dict[str, float] = {}
        self._take(run.stored.records)
        self._began -= max((r.timing.get("elapsed_s", 0.0) for r in self.records), default=0.0)

    def add(self, records: Sequence[Record]) -> None:
        """Write records the moment they exist."""
        elapsed = round(time.perf_counter() - self._began, 3)
        stamped = [replace(r, timing={**r.timing, "elapsed_s": elapsed}) for r in records]
        self._run.append(stamped)
        self._take(stamped)

    def add_info(self, **more: Any) -> None:
        """Say more in run.json from its next writing on."""
        self._info = {**self._info, **more}

    def _take(self, records: Sequence[Record]) -> None:
        self.records += records
        self.fits.update(name for one in records for name in one.fit_ids)
        self.failed += sum(record.status == "failed" for record in records)
        self.pruned += sum(record.status == "pruned" for record in records)
        for record in records:
            steps = int(record.timing.get("train_steps", 0))
            if len(record.fit_ids) <= 1:  # fits of a fusion are counted with their own records
                self.steps[record.fit] = max(steps, self.steps.get(record.fit, 0))

    @property
    def counts(self) -> Counts:
        """Totals so far."""
        steps = sum(self.steps.values())
        return Counts(
            len(self.fits), len(self.records), self.failed, self.pruned, self.retried, steps
        )

    @property
    def generations(self) -> int:
        """The number after that of the last generation with records."""
        return 1 + max((record.generation for record in self.records), default=-1)

    def set_baselines(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take the baselines' sweeps."""
        self._baselines = baseline_rows(rows, self._experiment.goals)

    @property
    def front(self) -> list[Record]:
        """Records of the front, best by the first objective first."""
        return self._records_of(self._front_rows())

    @property
    def selected(self) -> list[Record]:
        """Those of them that are selected, to be shown, compared and confirmed."""
        return self._records_of([row for row in self._front_rows() if row["selected"]])

    def _records_of(self, rows: Sequence[Mapping[str, Any]]) -> list[Record]:
        by_id = {record.id: record for record in self.records}
        return [by_id[str(row["id"])] for row in rows]

    def _front_rows(self) -> list[dict[str, Any]]:
        measures = self._experiment.objectives
        names = [one.name for one in measures.all]
        ordered = sorted(self.records, key=lambda record: (record.generation, record.position))
        return front_rows(ordered, self._experiment.goals, names, self._experiment.space)

    def end_generation(self, progress: Progress, *, replayed: bool = False) -> None:
        """Sum up what there is after a generation; the files know what was only replayed."""
        self._history.append(progress)
        if replayed:
            return
        self._memory.look()
        # a front of thousands of points takes a second: at most a fifth of the time is for that
        if time.perf_counter() - self._written_at >= SPARED * self._write_seconds:
            self.write("running")

    def write(self, status: str, *, keep_fits: bool = False) -> None:
        """Replace front.csv, baselines.csv and, last of all, run.json.

        Args:
            status: What run.json says of the run.
            keep_fits: Copy the fits of the front into the run.
        """
        began = time.perf_counter()
        searched = [goal.name for goal in self._experiment.goals]
        rows = self._front_rows()
        self._run.write_table("front.csv", rows, ["id", "selected", "fit", "seed", *searched])
        self._run.write_table(
            "baselines.csv", self._baselines, ["expert", "id", "on_front", *searched]
        )
        fits = (
            sorted({name for row in rows for name in fit_ids(str(row["fit"]))}) if keep_fits else []
        )
        self._keep(fits)
        summary = self._summary(status, rows)
        if status != "running":  # until then, the next generation replaces them one by one
            names = [*SUMMED_UP, *(f"fits/{fit_id}.safetensors" for fit_id in fits)]
            summary["files"] |= checksums(self._run.path, names)
        self._run.write_json(INFO, summary)
        self._written_at = time.perf_counter()
        self._write_seconds = self._written_at - began

    def begin(self, config: str) -> None:
        """Write the config, and that the search is running, before it does anything.

        Args:
            config: Text of config.toml.
        """
        if self._before:
            rest = {key: value for key, value in self._before.items() if key != "files"}
            self._run.write_json(INFO, {**rest, "status": "running", "writer": writer()})
        self._run.write_text(CONFIG, config)
        if not self._before:
            self.write("running")

    def _keep(self, fit_ids: Sequence[str]) -> None:
        folder = self._run.path / "fits"
        try:
            for fit_id in fit_ids:
                self._store.copy(fit_id, folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunFailedError(
                f"the front's fits cannot be kept in {folder}: {reason}"
            ) from error

    def _summary(self, status: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        goals = self._experiment.goals
        by_expert = {
            name: hypervolume_of([row for row in self._baselines if row["expert"] == name], goals)
            for name in self._experiment.config.baselines
        }
        return {
            **self._info,
            "status": status,
            "files": checksums(self._run.path, [CONFIG]),
            "counts": {
                "generations": len(self._history),
                **asdict(self.counts),
            },
            "history": [asdict(progress) for progress in self._history],
            "seconds": {**self.seconds, "total": time.perf_counter() - self._began},
            "memory_mib": self._memory.summary(),
            "hypervolume": {
                "front": hypervolume_of(rows, goals),
                "baselines": by_expert,
                "all_baselines": hypervolume_of(self._baselines, goals),
            },
        }

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Write the final files when the block ends, however it ends.

        What ends the block is what the caller sees: trouble with the final files is only noted
        on it. A request that turns out to be wrong changes none of them.
        """
        try:
            yield
        except BadRequestError:
            if self._before:
                self._run.write_json(INFO, self._before)
            raise
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            try:
                self.write(status, keep_fits=True)
            except Exception as second:
                error.add_note(f"the files of the run could not be brought up to date: {second}")
            raise
        self.write("finished", keep_fits=True)


def first_info(
    experiment: SearchedExperiment, leak: float | None, hashes: Mapping[str, str], device: str
) -> dict[str, Any]:
    """Return what run.json says from the beginning.

    Args:
        experiment: The experiment.
        leak: Share of the training rows that are later than the median test row; None
            where no times are known.
        hashes: What the run was computed from.
        device: Device of torch.
    """
    config, measures = experiment.config, experiment.objectives
    searched = [
        {**asdict(goal), "unit": objective.unit}
        for goal, objective in zip(experiment.goals, measures.searched, strict=True)
    ]
    reported = [
        {"name": one.name, "maximise": one.maximise, "unit": one.unit}
        for one in measures.reported
        if one.recorded
    ]
    return {
        "format": FORMAT,
        "writer": writer(),
        "experiment": config.name,
        "question": config.question,
        "status": "running",
        "objectives": searched,
        "reported": reported,
        "seed": config.seed,
        "leak": {"late_train_share": leak},
        "hashes": dict(hashes),
        **provenance(device),
    }
