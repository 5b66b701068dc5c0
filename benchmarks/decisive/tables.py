"""Tables of the decisive experiment in Markdown, and all of its figures as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.decisive.arms import ALONE, ARMS, MODES
from benchmarks.decisive.comparisons import PAIRS, Comparison, Standing, shown_by_pair
from benchmarks.decisive.opening import Key
from pareto_rec.analysis.bootstrap import Interval

Line = Mapping[str, Any]


@dataclass(frozen=True)
class CaseResult:
    """Everything that is known of one data set.

    Attributes:
        name: Of the experiment.
        goals: Searched objectives with their references.
        losses: With their floors.
        seconds: Budget of every arm, seed and mode.
        seeds: Of the searches.
        standings: Arm and mode -> over all seeds.
        lines: Results of the searches.
    """

    name: str
    goals: Mapping[str, float]
    losses: Mapping[str, float]
    seconds: float
    seeds: Sequence[int]
    standings: Mapping[Key, Standing]
    lines: Sequence[Line]

    def spent(self, key: Key) -> dict[str, float]:
        """Return means over the seeds of what an arm spent and made."""
        own = [one for one in self.lines if (one["arm"], one["mode"]) == key]
        return {
            "seconds": float(np.mean([one["seconds"]["total"] for one in own])),
            "most seconds": max(one["seconds"]["total"] for one in own),
            "least seconds": min(one["seconds"]["total"] for one in own),
            "training": float(np.mean([one["seconds"]["training"] for one in own])),
            "trained": float(np.mean([one["trained"] for one in own])),
            "settings": float(np.mean([one["settings"] for one in own])),
        }


def content_of(cases: Sequence[CaseResult], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return all figures, as JSON can hold them."""
    return {
        "cases": [
            {
                "name": case.name,
                "references": dict(case.goals),
                "losses": dict(case.losses),
                "seconds": case.seconds,
                "seeds": list(case.seeds),
                "arms": [
                    {
                        "arm": arm,
                        "mode": mode,
                        **_plain(asdict(standing)),
                        **case.spent((arm, mode)),
                    }
                    for (arm, mode), standing in case.standings.items()
                ],
            }
            for case in cases
        ],
        "comparisons": [_plain(asdict(one)) | {"shown": one.is_shown} for one in comparisons],
    }


def _plain(content: Any) -> Any:
    """Return content without NaN, which JSON has no word for."""
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and np.isnan(content) else content


def markdown(cases: Sequence[CaseResult], comparisons: Sequence[Comparison]) -> str:
    """Return all tables."""
    parts = [pairs_table(comparisons)]
    for case in cases:
        parts.append(f"## {case.name}\n\n{_about(case)}")
        parts += [case_table(case, comparisons, mode) for mode in MODES]
    return "\n\n".join(parts) + "\n"


def _about(case: CaseResult) -> str:
    goals = ", ".join(f"`{name}` ({reference:g})" for name, reference in case.goals.items())
    losses = ", ".join(
        f"`{name}`" + (f" (at least {floor:g})" if floor else "")
        for name, floor in case.losses.items()
    )
    return (
        f"Objectives (references): {goals}. Losses: {losses}. {len(case.seeds)} seeds, "
        f"{case.seconds:g} processor seconds for each arm and mode."
    )


def pairs_table(comparisons: Sequence[Comparison]) -> str:
    """Return on how many data sets each arm is shown to be better or worse than another."""
    rows = [
        "| arm | compared with | diversity on: better, worse | off: better, worse | data sets |",
        "|---|---|---|---|---|",
    ]
    by_mode = {
        mode: shown_by_pair([one for one in comparisons if one.mode == mode]) for mode in MODES
    }
    data = len({one.data for one in comparisons})
    for pair in PAIRS:
        cells = [by_mode[mode].get(pair, (0, 0)) for mode in MODES]
        shown = " | ".join(f"{better}, {worse}" for better, worse in cells)
        rows.append(f"| {pair[0]} | {pair[1]} | {shown} | {data} |")
    return "\n".join(rows)


def case_table(case: CaseResult, comparisons: Sequence[Comparison], mode: str) -> str:
    """Return a data set's arms in one mode, and the comparisons that are not with baselines."""
    own = {
        (one.above, one.below): one
        for one in comparisons
        if one.data == case.name and one.mode == mode
    }
    first = next(iter(case.goals))
    rows = [
        f"| serving diversity {mode} | share of the box | beside baselines alone, points | p "
        f"(Holm) | {first} at fixed values | beside baselines alone | networks | settings | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        standing = case.standings.get((arm, mode))
        if standing is not None:
            rows.append(_arm_row(arm, standing, own.get((arm, ALONE)), case, mode))
    rest = [one for (_, below), one in own.items() if below != ALONE]
    if rest:
        rows += [
            "",
            "| compared | share of the box, points | p (Holm) | seeds with more | "
            f"{first} at fixed values |",
            "|---|---|---|---|---|",
        ]
        rows += [
            f"| {one.above} - {one.below} | {_points(one.difference)} | {_p(one)} | "
            f"{one.seeds[0]} of {one.seeds[1]} | {_accuracy(one.accuracy, signed=True)} |"
            for one in rest
        ]
    return "\n".join(rows)


def _arm_row(
    arm: str, standing: Standing, versus: Comparison | None, case: CaseResult, mode: str
) -> str:
    spent, seeds = case.spent((arm, mode)), len(case.seeds)
    accuracy = _accuracy(standing.accuracy)
    if 0 < standing.reached < seeds:
        accuracy += f" ({standing.reached} of {seeds} seeds)"
    beside = (
        ("", "", "")
        if versus is None
        else (_points(versus.difference), _p(versus), _accuracy(versus.accuracy, signed=True))
    )
    return (
        f"| {arm} | {100 * standing.share.value:.1f} % | {beside[0]} | {beside[1]} | {accuracy} | "
        f"{beside[2]} | {spent['trained']:.1f} | {spent['settings']:.0f} | "
        f"{spent['seconds']:.1f} |"
    )


def _points(interval: Interval) -> str:
    return f"{100 * interval.value:+.2f}{_ends(interval, 100, '+.2f')}"


def _accuracy(interval: Interval | None, *, signed: bool = False) -> str:
    if interval is None:
        return "none"
    form = "+.4f" if signed else ".4f"
    return f"{interval.value:{form}}{_ends(interval, 1, form) if signed else ''}"


def _ends(interval: Interval, unit: float, form: str) -> str:
    if np.isnan(interval.low):
        return ""
    return f" ({unit * interval.low:{form}} to {unit * interval.high:{form}})"


def _p(comparison: Comparison) -> str:
    text = f"{comparison.p_holm:.2g}"
    return f"**{text}**" if comparison.is_shown else text


def in_a_line(comparisons: Sequence[Comparison]) -> str:
    """Return what the comparisons show, in a line."""
    counts = shown_by_pair(comparisons)
    of = len({(one.data, one.mode) for one in comparisons})
    parts = [
        f"{' against '.join(pair)}: {counts[pair][0]} better, {counts[pair][1]} worse"
        for pair in PAIRS
        if pair in counts
    ]
    seeds = max((one.seeds[1] for one in comparisons), default=0)
    return (
        f"hypervolume on test data, {seeds} seeds, Holm over {len(comparisons)} comparisons; of "
        f"{of} data sets and modes: {'; '.join(parts)}"
    )
