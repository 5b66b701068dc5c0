"""Lookup of stored records, for a search that is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pareto_rec.core.errors import BadRequestError
from pareto_rec.runs.record import Origin, Record
from pareto_rec.search import Trial


class StoredRecords:
    """The stored records of a run, generation by generation.

    The search is asked again from the same seed. What it asks must be what was stored: then the
    stored results lead it along the same way, to where it was left.
    """

    def __init__(self, records: Sequence[Record], store: Path) -> None:
        """Take the records of a store.

        Args:
            records: Record n stands on line n + 1.
            store: Named where a record does not belong to the search.
        """
        self._store = store
        self._found: dict[int, dict[str, tuple[int, Record]]] = {}
        for line, record in enumerate(records, start=1):
            self._found.setdefault(record.generation, {})[record.id] = line, record

    def origin(self, generation: int) -> Origin | None:
        """Return where the stored records of a generation come from; None where there are none."""
        stored = self._found.get(generation, {})
        return next((record.origin for _, record in stored.values()), None)

    def answer(self, questions: Sequence[Record]) -> dict[str, Record]:
        """Return stored records of the generation that the search asks for now, by candidate id.

        Args:
            questions: What all records of that generation will say, apart from results.

        Raises:
            BadRequestError: If there is a record of this generation that it does not ask for.
        """
        stored = self._found.get(questions[0].generation, {})
        if not stored:
            return {}
        expected = {record.id: record for record in questions}
        for line, record in stored.values():
            question = expected.get(record.id)
            if question is None or not _same_question(record, question):
                raise BadRequestError(
                    f"{self._store}, line {line}: the search does not ask for this record of "
                    f"generation {record.generation} again; it was changed or belongs to another "
                    "run: put the file back from a copy, or begin a new run"
                )
        return {key: record for key, (_, record) in stored.items()}


def asked_for(trials: Sequence[Trial], fit_id: Callable[[Trial], str], seed: int) -> list[Record]:
    """Return what records of trials will say, apart from their results."""
    return [
        Record(
            id=candidate.id,
            fit=fit,
            members={},
            seed=seed,
            generation=trial.generation,
            position=trial.position + index,
            origin=trial.origin(index),
            train=candidate.train,
            serve=candidate.serve,
            status="ok",
            objectives={},
        )
        for trial in trials
        for fit in (fit_id(trial),)
        for index, candidate in enumerate(trial.candidates)
    ]


def _same_question(record: Record, other: Record) -> bool:
    return _question(record) == _question(other)


def _question(record: Record) -> Mapping[str, object]:
    # what is fused follows from serving variables and fit
    return replace(record, status="ok", members={}, objectives={}, reason=None).outside_timing()
