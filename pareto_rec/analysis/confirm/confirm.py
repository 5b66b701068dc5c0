"""Confirmation: what is left on test data of the front of a finished run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pareto_rec.analysis.confirm import ledger, opponents, search_seeds, tables, words
from pareto_rec.analysis.confirm.content import report
from pareto_rec.analysis.confirm.measure import (
    OpenedTest,
    Question,
    Training,
    Values,
    measure,
    train,
    truth_account,
)
from pareto_rec.analysis.confirm.opponent_fits import most_accurate, trained
from pareto_rec.analysis.confirm.opponent_search import Searched, search
from pareto_rec.analysis.confirm.opponents import Opponent
from pareto_rec.analysis.confirm.reported_front import (
    Point,
    ReportedFront,
    TrainingKey,
    read_claim,
)
from pareto_rec.baselines import has_impressions
from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.seeds import child_seed
from pareto_rec.execution.callbacks import CallbackList, SearchCallback
from pareto_rec.execution.tuned import with_tuned_baseline
from pareto_rec.execution.workers.evaluation import Workers
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.experiment.opening import opening_of, write_down
from pareto_rec.experiment.openings import OpeningLedger
from pareto_rec.runs.confirmation import JSON, read_ledger
from pareto_rec.runs.earlier_openings import EarlierOpenings, earlier_openings
from pareto_rec.runs.openings import Opening, ledgers, now, read_openings
from pareto_rec.runs.record_store import RECORDS, locked
from pareto_rec.search.space import Candidate

Answers = dict[tuple[int, int], Values | str]
Slot = tuple[TrainingKey, int]  # what is trained, and the place of its seed
Fits = Mapping[Slot, str]


@dataclass(frozen=True)
class Opened:
    """The validation stage of a claim, ready to train and measure on.

    Attributes:
        claim: What is confirmed.
        pool: Where work is done.
        seeds: Of the fresh fits.
        callback: Where progress is shown.
        tree: Whether there are impressions, and so boosted trees among the opponents.
    """

    claim: ReportedFront
    pool: Workers
    seeds: tuple[int, ...]
    callback: SearchCallback
    tree: bool


def confirm_run(
    run: Path, *, seeds: int, cache: Path, workers: int, callbacks: Sequence[SearchCallback] = ()
) -> Path:
    """Train the selected points anew, then open test data for them and for their opponents.

    Args:
        run: A finished run directory.
        seeds: Number of fresh seeds.
        cache: Root of the cache; no fit in it is trained again.
        workers: Processes; 1 works in this process.
        callbacks: Told the stages, and how far texts are encoded.

    Returns:
        ``confirm.json``.

    Raises:
        BadRequestError: If the run cannot be confirmed, another process writes to it, or a ledger
            of test data is damaged; test data is not opened then.
        RunFailedError: If every fresh fit failed, a worker died, or a file cannot be written.
    """
    with locked(run / RECORDS):  # two confirmations at once would both open test data
        callback = CallbackList(callbacks)
        claim = read_claim(run, cache, callback.on_encoded)
        return _confirm(claim, seeds, cache, workers, callback)


def confirm_runs(
    runs: Sequence[Path],
    *,
    seeds: int,
    cache: Path,
    workers: int,
    callbacks: Sequence[SearchCallback] = (),
) -> Path:
    """Confirm runs of one config with different seeds, and say what they say together.

    Runs that are confirmed are not confirmed again: their test data is not opened once more. The
    first run's confirm.json says what all of them say.

    Args:
        runs: At least two finished run directories.
        seeds: Number of fresh seeds of the others.
        cache: Root of the cache; no fit in it is trained again.
        workers: Processes; 1 works in this process.
        callbacks: Told the stages, and how far texts are encoded.

    Returns:
        ``confirm.json`` of the first run.

    Raises:
        BadRequestError: If the runs differ by more than their seed, or as in :func:`confirm_run`.
        RunFailedError: As in :func:`confirm_run`.
    """
    search_seeds.check_alike(runs)
    for run in runs:
        if not search_seeds.is_confirmed(run):
            confirm_run(run, seeds=seeds, cache=cache, workers=workers, callbacks=callbacks)
    searches = search_seeds.over_searches([search_seeds.read_confirmed_run(run) for run in runs])
    first = runs[0]
    with locked(first / RECORDS):
        answer = dict(read_ledger(first / JSON)["answer"])
        says = [one for one in answer["says"] if not words.is_of_searches(one)]
        answer["says"] = [*says[:1], *search_seeds.in_words(searches), *says[1:]]
        return ledger.amend(first, {"search_seeds": searches, "answer": answer})


def _confirm(
    claim: ReportedFront, seeds: int, cache: Path, workers: int, callback: SearchCallback
) -> Path:
    began, run = time.perf_counter(), claim.view.path
    earlier = ledger.openings(run)
    experiment, hashes, trees = _prepare(claim, callback)
    config = experiment.config
    asked = opening_of(claim.experiment, run, "confirm", seeds)
    _warn(replace(asked, at=now()), callback)
    fresh = tuple(child_seed(config.seed, "confirm", place) for place in range(seeds))
    with Workers(workers, config, cache, experiment.evaluator()) as pool:
        ready = Opened(claim, pool, fresh, callback, bool(trees))
        against = _opponents(ready)
        points = [*claim.points, *(point for one in against for point in one.points)]
        fits, failed = _train(ready, points)
        answers = {"validation": _measure(ready, points, fits, None)}
        spent = {"validation": time.perf_counter() - began}
        callback.on_stage("opening test data")
        opening = write_down(asked)
        ledger.note_opening(run, seeds, opening.at)
        test = OpenedTest(config.model_dump_json(), OpeningLedger(run))
        answers["test"] = _measure(ready, points, fits, test)
        (truth,) = pool.unordered(truth_account, [test])
    spent["test"] = time.perf_counter() - began - spent["validation"]
    callback.on_stage("resampling users and seeds")
    known = read_openings(ledgers())
    unknown = [at for at in earlier if at not in {one.at for one in known}]
    content, draws = report(
        claim, against, points, answers, earlier=unknown, seeds=fresh, hashes=hashes, truth=truth
    )
    content |= _opened(content["answer"], opening, earlier_openings(opening, known))
    spent["total"] = time.perf_counter() - began
    spent["statistics"] = spent["total"] - spent["test"] - spent["validation"]
    content |= {"experts": trees, "failed": failed}
    content["seconds"] = {stage: round(seconds, 1) for stage, seconds in spent.items()}
    path, _ = ledger.write(run, content, tables.flat(content["points"]), draws)
    return path


def _warn(opening: Opening, callback: SearchCallback) -> None:
    """Say before any work who has opened this test data, and whether that voids the answer."""
    before = earlier_openings(opening, read_openings(ledgers()))
    for line in (before.says, before.void):
        if line:
            callback.on_note(line)


def _opened(answer: Mapping[str, Any], opening: Opening, before: EarlierOpenings) -> dict[str, Any]:
    """What confirm.json says of the opening; the headline begins with what voids it."""
    headline, *rest = answer["says"]
    says = [f"{before.void} {headline}".strip(), *rest, *([before.says] if before.says else [])]
    return {
        "answer": {**answer, "says": says},
        "opening": asdict(opening),
        "earlier": before.to_json(),
        "void": before.void,
    }


def _prepare(
    claim: ReportedFront, callback: SearchCallback
) -> tuple[Experiment, dict[str, str], dict[str, Any]]:
    """The experiment with boosted trees, where there are impressions that they can learn from.

    Of the test stage only the hash goes any further than this.

    Returns:
        The experiment, hashes of its data and features, and what confirm.json says of the
        parameters of the trees, by name of the baseline; empty without impressions.
    """
    callback.on_stage("reading data")
    experiment = claim.experiment
    hashes = {
        "validation": experiment.split.validation.content_hash,
        "test": experiment.split.test_hash,
        "features": experiment.features.key,
    }
    experiment.check_unchanged()
    trees: dict[str, Any] = {}
    if has_impressions(experiment.split.validation):
        experiment, trees = with_tuned_baseline(experiment, opponents.TREE, callback.on_stage)
        trees[opponents.TREE] |= _tuned_by_run(claim, opponents.TREE)
    callback.on_stage("preparing experts")
    experiment.evaluator()
    return experiment, hashes, trees


def _tuned_by_run(claim: ReportedFront, name: str) -> Mapping[str, Any]:
    """What run.json says of a baseline that the search tuned; empty where it did not."""
    return dict((claim.view.info.get("experts") or {}).get(name) or {})


def _opponents(ready: Opened) -> list[Searched]:
    """Every opponent, its settings searched, as many as the run has records."""
    claim, pool, found = ready.claim, ready.pool, []
    for opponent in _made(ready):
        label = f"searching settings of an opponent, {opponent.name}"
        told = _quarters(ready.callback, label, claim.records, "settings")
        found.append(search(opponent, claim.experiment, pool, claim.records, told))
    return found


def _quarters(callback: SearchCallback, label: str, total: int, unit: str) -> Callable[[int], None]:
    """Return what says at every quarter how much is done; what there is to do is said at once."""
    said = 0
    callback.on_stage(f"{label}: {total:,} {unit}")

    def told(done: int) -> None:
        nonlocal said
        if total >= 4 and 4 * done // total > said:
            said = 4 * done // total
            callback.on_stage(f"{label}: {done:,} of {total:,}")

    return told


def _made(ready: Opened) -> Iterator[Opponent]:
    """Yield the opponents that there can be, their fits trained."""
    experiment, pool = ready.claim.experiment, ready.pool
    baselines = opponents.baselines_of(experiment)
    if baselines:
        yield opponents.alone(baselines)
    if ready.tree:
        yield opponents.with_tree(baselines)
    if not pool.evaluator.trains:
        return
    plain = trained([opponents.middle(experiment.space)], pool)
    for fit in plain:
        yield opponents.with_one_fit(baselines, fit.id, fit.train)
    number = ready.claim.fits
    ready.callback.on_stage(f"training fits of an opponent, for accuracy alone: {number}")
    best = most_accurate(trained(opponents.accuracy_only(experiment, number), pool))
    if best:
        members = opponents.serving_search(experiment, ready.claim.records).members
        fits = {fit.id: fit.train for fit in best}
        yield opponents.with_best_fits(baselines, fits, number, members)
    if not plain or not best:
        ready.callback.on_note("an opponent is left out: its fits failed")


def _counted(
    ready: Opened, job: Callable[..., Any], arguments: Sequence[object], label: str
) -> Iterable[Any]:
    """Results as they come; how many there are is said at every quarter."""
    told = _quarters(ready.callback, label, len(arguments), "jobs")
    for done, result in enumerate(ready.pool.unordered(job, arguments), start=1):
        yield result
        told(done)


def _train(ready: Opened, points: Sequence[Point]) -> tuple[Fits, list[dict[str, Any]]]:
    """Make the fits of every network under every seed; points share those that they share."""
    trainings = _trainings(points, ready.seeds)
    slots = {_identity(job): slot for slot, job in trainings.items()}
    fits, reasons = {}, {}
    for job, made in _counted(ready, train, list(trainings.values()), "training anew"):
        if made.reason is None:
            fits[slots[_identity(job)]] = made.fit
        else:
            reasons[slots[_identity(job)]] = made.reason
    if trainings and not fits:
        raise RunFailedError(
            f"every fresh fit failed, so test data was not opened: {next(iter(reasons.values()))}"
        )
    return fits, list(_failures(points, ready.seeds, reasons))


def _trainings(points: Sequence[Point], seeds: Sequence[int]) -> dict[Slot, Training]:
    """Return the fits to make."""
    wanted = {key: one.networks[name] for one in points for name, key in one.trainings.items()}
    return {
        (key, number): Training(values, copy_seed(seed, key.copy))
        for key, values in wanted.items()
        for number, seed in enumerate(seeds)
    }


def _identity(job: Training) -> tuple[str, int]:
    return Candidate(job.train, {}).train_id, job.seed


def _failures(
    points: Sequence[Point], seeds: Sequence[int], reasons: Mapping[Slot, str]
) -> Iterator[dict[str, Any]]:
    """Yield every point and seed of which a fit failed, and why the first of them did."""
    for point in points:
        for number, seed in enumerate(seeds):
            slots = [(key, number) for key in point.trainings.values()]
            failed = [reasons[slot] for slot in slots if slot in reasons]
            if failed:
                yield {"front": point.front, "id": point.id, "seed": seed, "reason": failed[0]}


def copy_seed(seed: int, copy: int) -> int:
    """Return the seed of a copy of a fit: of the first, the seed itself."""
    return seed if copy == 0 else child_seed(seed, "copy", copy)


def _measure(
    ready: Opened, points: Sequence[Point], fits: Fits, test: OpenedTest | None
) -> Answers:
    """Values of every point under every seed; those without a network count as the first seed.

    A point is left out under the seeds for which one of its fits failed.
    """
    together: dict[tuple[tuple[tuple[str, str], ...], int], list[int]] = {}
    for index, point in enumerate(points):
        keys = point.trainings
        for number in range(len(ready.seeds) if keys else 1):
            names = {name: fits.get((key, number)) for name, key in keys.items()}
            made = tuple((name, fit) for name, fit in names.items() if fit is not None)
            if len(made) == len(keys):
                together.setdefault((made, number), []).append(index)
    jobs = [
        Question((number, indices), dict(names), [points[index].serve for index in indices], test)
        for (names, number), indices in together.items()
    ]
    answers: Answers = {}
    label = "measuring on validation data" if test is None else "measuring on test data"
    for (number, indices), values in _counted(ready, measure, jobs, label):
        answers |= {(index, number): one for index, one in zip(indices, values, strict=True)}
    return answers
