"""Evaluation of trials, reusing stored records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from pareto_rec.evaluation.candidates import CandidateEvaluator
from pareto_rec.execution.run_writer import RunWriter
from pareto_rec.execution.settings import measured_blocks
from pareto_rec.execution.stored_records import StoredRecords, asked_for
from pareto_rec.execution.successive_halving import SuccessiveHalving
from pareto_rec.execution.workers.evaluation import EvaluatorPool, Job
from pareto_rec.execution.workers.packs import Pack, packs_of
from pareto_rec.runs.record import Origin, Record
from pareto_rec.search import Failure, Pruned, Result, Trial


class TrialRunner:
    """Results for the trials of a generation; new ones are journaled the moment they exist.

    A pack that lacks any record is evaluated again whole, as the first time; the records that it
    had already stay as they are.

    Attributes:
        replayed: Whether the last generation came out of the store alone.
        differing: Stored records that came out differently when their pack was evaluated again.
    """

    def __init__(
        self,
        replay: StoredRecords,
        pool: EvaluatorPool[CandidateEvaluator],
        journal: RunWriter,
        pack_size: int,
        on_records: Callable[[Sequence[Record]], None],
        halving: SuccessiveHalving | None = None,
    ) -> None:
        """Set up the runner of one search.

        Args:
            replay: The records of the run's earlier life.
            pool: Evaluates packs.
            journal: Writes down new records.
            pack_size: Most trials of a pack.
            on_records: Called with new records once they are written down.
            halving: Stops some fits of a generation early; None trains all to the end.
        """
        self._replay, self._pool, self._journal = replay, pool, journal
        self._pack_size, self._on_records, self._halving = pack_size, on_records, halving
        self._retried = journal.retried
        self._packs: dict[str, Pack] = {}  # by fit, of those that were only replayed
        self.replayed = False
        self.differing = 0

    def __call__(self, trials: Sequence[Trial]) -> Iterator[tuple[str, Result]]:
        """Yield candidate ids and results, in any order."""
        evaluator = self._pool.evaluator
        stored = self._replay.answer(asked_for(trials, evaluator.fit_id, evaluator.seed))
        ids = [candidate.id for trial in trials for candidate in trial.candidates]
        self.replayed = all(candidate_id in stored for candidate_id in ids)
        packs: Sequence[Pack] = packs_of(trials, evaluator, self._pack_size)
        yield from _results(stored.values())
        if self._halving is not None:
            for records, left in self._halving.through(packs, stored):
                yield from self._taken(records, stored)
                packs = left
        lacking = []
        for pack in packs:
            if all(candidate.id in stored for trial in pack for candidate in trial.candidates):
                self._packs.update((evaluator.fit_id(trial), pack) for trial in pack)
            else:
                lacking.append(pack)
        for records in self._pool.evaluate(lacking):
            yield from self._taken(records, stored)
        if self._halving is not None:
            self._halving.forget()

    def stored_origin(self, generation: int) -> Origin | None:
        """Return where the stored records of a generation come from; None where there are none."""
        return self._replay.origin(generation)

    def settings(self, questions: Sequence[Record], job: Job, size: int) -> list[Record]:
        """Return records of serving settings, in their order; new ones are journaled at once.

        Args:
            questions: What they will say, apart from results; all of one generation.
            job: Takes some of them, and gives them with their results, or `Trouble`.
            size: Settings of one call. A call that lacks any record is made again whole.
        """
        stored = self._replay.answer(questions)
        self.replayed = all(record.id in stored for record in questions)
        if not self.replayed:
            self.restore(sorted({fit for record in questions for fit in record.fit_ids}))
        known = dict(stored)
        for found in measured_blocks(self._pool, job, questions, size, stored):
            new = [record for record in found if record.id not in stored]
            self._compare([record for record in found if record.id in stored], stored)
            self._write_down(new)
            known |= {record.id: record for record in new}
        return [known[record.id] for record in questions]

    def _write_down(self, new: Sequence[Record]) -> None:
        self._journal.retried = self._retried + self._pool.retried
        self._journal.add(new)
        self._on_records(new)

    def _taken(
        self, records: Sequence[Record], stored: dict[str, Record]
    ) -> Iterator[tuple[str, Result]]:
        """Write down what is new of some records, and hand it on."""
        new = [record for record in records if record.id not in stored]
        self._compare([record for record in records if record.id in stored], stored)
        self._write_down(new)
        yield from _results(new)

    def _compare(self, again: Iterable[Record], stored: dict[str, Record]) -> None:
        for record in again:
            before = stored[record.id]
            if {before.status, record.status} == {"ok"}:
                self.differing += before.outside_timing() != record.outside_timing()

    def restore(self, fits: Iterable[str]) -> None:
        """Train again what the cache has lost since, so that it can be measured and kept.

        Args:
            fits: Ids of the fits that are needed; each is looked for once.
        """
        store = self._pool.evaluator.store
        replayed = [(fit, self._packs.pop(fit)) for fit in fits if fit in self._packs]
        packs = {id(pack): pack for fit, pack in replayed if store.get(fit) is None}
        for _ in self._pool.evaluate(list(packs.values())):
            pass


def _results(records: Iterable[Record]) -> Iterator[tuple[str, Result]]:
    for record in records:
        if record.status == "ok":
            yield record.id, record.objectives
        else:
            kind = Pruned if record.status == "pruned" else Failure
            yield record.id, kind(record.reason or record.status)
