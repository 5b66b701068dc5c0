"""Findings of a run, in sentences and small tables of plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pareto_rec.core.wording import lacking_in_words, repeats_in_words
from pareto_rec.report.plots import style
from pareto_rec.report.plots.style import TIMES, thousandths
from pareto_rec.runs.confirmation import OWN, Confirmed
from pareto_rec.runs.view import Axis, RunView
from pareto_rec.search.pareto import non_dominated


def answer(view: RunView) -> list[str]:
    """Return the answer first: size of the front, gain over the baselines, where a baseline wins.

    Returns:
        Sentences of the first paragraph, plain text.
    """
    confirmed = view.confirmed
    on_test = (
        [*confirmed.says[:1], _challengers_on_test(view, confirmed)]
        if confirmed and confirmed.finished
        else []
    )
    return [_size(view), *on_test, _best_point(view), _challengers(view)]


def caveat(view: RunView) -> str:
    """Return what the numbers do not say."""
    records = int((view.records["status"] == "ok").sum())
    luck = f"the front is the best of {records:,} records: part of it is luck"
    if view.confirmed is None:
        text = (
            f"All values are from validation data, and {luck}, so expect less on test data, which "
            "was not opened. "
        )
    else:
        text = (
            "Values are from validation data where test data is not named, and "
            f"{luck}. {style.opened(view.confirmed)} "
        )
    return " ".join([f"{text}{style.leak(view)}".strip(), *notes(view)])


def worthless(view: RunView) -> str:
    """Return why a hypervolume is 0: the references that no point reaches, or all at once."""
    if view.front.empty:
        return "no record is feasible"
    beyond = {axis: _beyond(view.front[axis.name], axis) for axis in view.axes}
    never = [axis for axis, reached in beyond.items() if not reached.any()]
    if never:
        best = (_best(view.front[axis.name], axis.maximise)[1] for axis in never)
        references = (
            f"{axis.label} = {axis.reference:g} (best {value:.4g})"
            for axis, value in zip(never, best, strict=True)
        )
        return f"no point of the front gets beyond the reference {' or '.join(references)}"
    return "every reference is passed by some point, but no point passes all of them at once"


def _beyond(column: Any, axis: Axis) -> NDArray[np.bool_]:  # Any: a pandas Series
    values = column.to_numpy(dtype=np.float64)
    return np.asarray(values > axis.reference if axis.maximise else values < axis.reference)


def notes(view: RunView) -> list[str]:
    """Return what limits the measurement: held-out rows left out, attributes missing."""
    truth, described = view.info.get("truth") or {}, view.info.get("described") or {}
    sentences = [repeats_in_words(account, stage) for stage, account in truth.items()]
    for name, entry in (view.info.get("lacking") or {}).items():
        counts = [(of[name][0], of[name][1]) for of in described.values() if name in of]
        sentences.append(lacking_in_words(name, entry, counts))
    return [f"{words[0].upper()}{words[1:]}." for words in sentences if words]


def given(view: RunView) -> str:
    """Describe the search's and the baselines' budgets in one sentence; empty without any."""
    if view.baselines.empty or view.info.get("systems"):  # of several systems: one point, no sweep
        return ""
    counts = view.baselines["expert"].value_counts().tolist()
    low, high = int(min(counts)), int(max(counts))
    settings = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    alone = len(counts) == 1
    whom = "one baseline, an expert" if alone else f"{len(counts)} baselines, experts"
    usable = view.records[view.records["status"] == "ok"]
    searched = int((usable["origin"] == "serving").sum())
    among = f", {searched:,} of them settings of all fits and baselines" if searched else ""
    return (
        f"The odds are not equal: the {whom} without fusion, had {settings} serving settings"
        f"{'' if alone else ' each'} (penalty, re-ranking), the search {len(usable):,} records"
        f"{among}; confirm gives opponents the same serving search and as many settings"
    )


def _size(view: RunView) -> str:
    points = "1 point" if len(view.front) == 1 else f"{len(view.front):,} points"
    volumes = view.hypervolumes
    if volumes.front is None:
        return f"The front has {points}."
    text = f"The front has {points} and a hypervolume {TIMES} 1000 of {thousandths(volumes.front)}"
    if volumes.front and view.share_of_box is not None:
        text += f" ({view.share_of_box:.0%} of the box from the reference to the best values)"
    if volumes.front == 0:
        together = f"; all baselines together have {thousandths(volumes.all_baselines or 0.0)}"
        return f"{text}: {worthless(view)}{together}."
    if volumes.gain is None or volumes.all_baselines is None:
        return f"{text}; there is no baseline worth anything to compare it with."
    text += f", {volumes.gain:.2f} times that of all baselines together "
    text += f"({thousandths(volumes.all_baselines)})"
    if volumes.best_expert is not None:
        alone = thousandths(volumes.experts[volumes.best_expert])
        text += f"; the best single one, {volumes.best_expert}, has {alone}"
    return f"{text}. {given(view)}."


def _best_point(view: RunView) -> str:
    """Return the point that is best in the first objective, and the best baseline in it."""
    axis = view.axes[0]
    if view.front.empty:
        return "No record is feasible, so there is no point to choose."
    best = _best(view.front[axis.name], axis.maximise)[1]
    text = f"On validation data the front's best {axis.label} is {best:.4f}"
    rows = view.baselines[view.feasible(view.baselines)]
    if rows.empty:
        return f"{text}."
    index, value = _best(rows[axis.name], axis.maximise)
    return f"{text}; the best feasible baseline, {rows['expert'].iloc[index]}, has {value:.4f}."


def _best(column: Any, maximise: bool) -> tuple[int, float]:  # Any: a pandas Series
    values = column.to_numpy(dtype=np.float64)
    index = int(values.argmax() if maximise else values.argmin())
    return index, float(values[index])


def _challengers(view: RunView) -> str:
    """Return whether a baseline setting is better than the front somewhere."""
    rows = view.baselines[view.feasible(view.baselines)]
    if view.baselines.empty:
        return "The run has no baselines to compare with."
    if rows.empty:
        return f"None of the {len(view.baselines):,} baseline settings is feasible."
    both = np.concatenate([view.values(view.front), view.values(rows)])
    winners = rows[non_dominated(both, maximise=view.maximise)[len(view.front) :]]
    if winners.empty:
        return (
            f"No baseline wins anywhere on validation data: each of the {len(rows):,} feasible "
            "settings is dominated by a point of the front, or equal to one."
        )
    counts = winners["expert"].value_counts()
    names = ", ".join(f"{name} {count}" for name, count in counts.items())
    which = f"{len(winners):,} of their {len(rows):,} feasible settings"
    return (
        "Baselines win in places on validation data: no point of the front dominates "
        f"{which} ({names})."
    )


def _challengers_on_test(view: RunView, confirmed: Confirmed) -> str:
    """Say whether a confirmed point of an opponent is better on test data than all of the front."""
    known = [p for p in confirmed.points if set(view.names) <= set(p.values.get("test", ()))]
    rivals = [point for point in known if point.front != OWN and point.feasible]
    own = [point for point in known if point.front == OWN]
    if not rivals or not own:
        return "No feasible point of an opponent stands beside it on test data."
    means = [[p.values["test"][name][0] for name in view.names] for p in (*own, *rivals)]
    best = non_dominated(np.array(means), maximise=view.maximise)[len(own) :]
    names = [point.front for point, is_best in zip(rivals, best, strict=True) if is_best]
    if not names:
        return "On test data no opponent wins anywhere among the confirmed points, by means."
    counts = ", ".join(f"{name} {names.count(name)}" for name in dict.fromkeys(names))
    which = f"{len(names)} of {len(rivals)} confirmed points of opponents"
    return (
        f"Opponents win in places on test data: no point of the front dominates {which} ({counts})."
    )


def failures(view: RunView) -> list[tuple[str, int]]:
    """Return the reason and number of the records that are not ``ok``, the most frequent first."""
    bad = view.records[view.records["status"] != "ok"]
    reasons = [
        f"{status}: {reason}" if isinstance(reason, str) and reason else str(status)
        for status, reason in zip(bad["status"], bad["reason"], strict=True)
    ]
    names = sorted(set(reasons), key=lambda name: (-reasons.count(name), name))
    return [(name, reasons.count(name)) for name in names]


def cost(view: RunView) -> list[tuple[str, str]]:
    """Return counts and seconds as the run wrote them."""
    counts, seconds = view.info.get("counts") or {}, view.info.get("seconds") or {}
    rows = [
        (str(name), f"{value:,}" if isinstance(value, int) else _plain(value))
        for name, value in counts.items()
    ]
    return rows + [(f"seconds: {name}", _plain(value)) for name, value in seconds.items()]


def choices(view: RunView) -> list[tuple[str, str]]:
    """Return, per unordered variable, what the front's points chose and how often."""
    rows = []
    for name in view.front:
        column = view.front[name].dropna()
        variable = str(name).startswith(("train.", "serve."))
        if variable and any(isinstance(value, str) for value in column):
            counts = column.value_counts()
            shares = ", ".join(f"{value} {count:,}" for value, count in counts.items())
            rows.append((str(name), shares))
    return rows


def provenance(view: RunView) -> list[tuple[str, str]]:
    """Return the provenance of the run: seed, commit, versions, hardware, hashes."""
    rows = [
        (key, _plain(view.info[key]))
        for key in ("seed", "git_commit")
        if view.info.get(key) is not None
    ]
    for group in ("versions", "hardware", "hashes"):
        entry = view.info.get(group)
        if isinstance(entry, Mapping):
            rows += [(f"{group}: {name}", _plain(value)) for name, value in entry.items()]
    return rows


def _plain(value: Any) -> str:  # Any: JSON
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
