"""Measurement of serving settings in blocks, each one job of a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pareto_rec.evaluation.candidates import CandidateEvaluator
from pareto_rec.execution.workers.evaluation import EvaluatorPool, Job
from pareto_rec.runs.record import Record


def measured_blocks(
    pool: EvaluatorPool[CandidateEvaluator],
    job: Job,
    questions: Sequence[Record],
    size: int,
    known: Mapping[str, Record],
) -> Iterator[list[Record]]:
    """Yield records of the blocks that lack any, in the order in which they are measured.

    Where a job fails, its settings do: their records say why.

    Args:
        pool: Measures; the number of its workers changes nothing but the order.
        job: Takes the settings of a block, and gives them with their results, or `Trouble`.
        questions: What the records will say, apart from results.
        size: Settings of a block. A block that lacks any record is measured again whole.
        known: Records by id that are there already.
    """
    blocks = [tuple(questions[begin : begin + size]) for begin in range(0, len(questions), size)]
    lacking = [block for block in blocks if any(one.id not in known for one in block)]
    for block, found in pool.settled(job, lacking):
        if isinstance(found, str):
            yield [replace(one, status="failed", reason=found) for one in block]
        else:
            yield list(found)
