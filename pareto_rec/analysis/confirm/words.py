"""Answer of a confirmation in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pareto_rec.analysis.bootstrap import LEVEL
from pareto_rec.analysis.confirm.reported_front import SEARCH
from pareto_rec.analysis.confirm.tables import ALL
from pareto_rec.core.wording import kept_in_words, repeats_in_words

_ONE_SEARCH = (
    ", for the points of one search: how much searches with other seeds differ is not in them "
    "(confirm --with)."
)
_SEVERAL_SEARCHES = " searches with other seeds, "


def is_of_searches(sentence: str) -> bool:
    """Return whether a sentence says what one search lacks, or what several said before."""
    return sentence.endswith(_ONE_SEARCH) or _SEVERAL_SEARCHES in sentence


def answer(
    fronts: Sequence[Mapping[str, Any]],
    points: Sequence[Mapping[str, Any]],
    best: str | None,
    objectives: Sequence[Mapping[str, Any]],
    earlier: Sequence[str],
    truth: Mapping[str, int],
    *,
    fixed: Mapping[str, Any] | None = None,
    resampled: str | None = None,
) -> dict[str, Any]:
    """Return the answer in words and in three numbers.

    Args:
        fronts: From `tables.front_rows`.
        points: From `tables.point_rows`.
        best: The opponent with the most hypervolume on test data.
        objectives: Entries of confirm.json.
        earlier: When test data had been opened before.
        truth: Test rows that are left out of the truth (`Stage.truth_account`).
        fixed: From `tables.fixed_row`.
        resampled: What the intervals of hypervolumes cover.
    """
    own = [row for row in points if row["front"] == SEARCH]
    by_own = sum(row["dominated_by_own"] for row in own)
    by_any = sum(row["dominated_by_any"] for row in own)
    says = [_headline(fronts, best), *_against_others(fronts, best), *_lost(fronts[1:])]
    says += [*_corrected(fronts), *_at_fixed(fixed, objectives)]
    says.append(
        f"On test data {by_own} of the {len(own)} confirmed points are dominated by another of "
        f"them, and {by_any} by a confirmed point of any front."
    )
    says += _best_values(points, [objective for objective in objectives if objective["searched"]])
    says += _biased(points, objectives)
    if resampled:
        says.append(f"Intervals cover {resampled}{_ONE_SEARCH}")
    if words := repeats_in_words(truth, "test"):
        says.append(f"{words}.")
    if earlier:
        says.append(f"Test data had been opened before: {', '.join(earlier)}.")
    counts = {"dominated_by_own": by_own, "dominated_by_any": by_any}
    return {"says": says, "points": len(own), **counts}


def _headline(fronts: Sequence[Mapping[str, Any]], best: str | None) -> str:
    share = fronts[0].get("share_of_box")
    text = "On test data the hypervolume "
    text += (
        f"x 1000 of the confirmed front is {_thousand(fronts[0]['hypervolume']['test'])}"
        if share is None
        else f"of the confirmed front is {_spread(share['test'], 3)} of the box from the reference "
        "to the best values of all confirmed points"
    )
    front = next((entry for entry in fronts if entry["name"] == best), None)
    if front is None or front["ratio"]["test"] is None:
        return f"{text}; no opponent is worth anything by the reference."
    ratio = front["ratio"]["test"]
    text += f", {_spread(ratio, 2)} times that of the strongest opponent, {best} "
    text += f"({front['says']}; {front['records']:,} settings)"
    retained = front["kept"]
    share = f"; {kept_in_words(retained['value'])} of that gain is kept" if retained else ""
    if front["ratio"][SEARCH] is not None:
        text += f"; the search's own values claimed {front['ratio'][SEARCH]:.2f} times{share}"
    text += "."
    if _holds_one(ratio):
        text += " The interval holds 1: test data does not show that the search is better."
    return text


def _holds_one(ratio: Mapping[str, Any]) -> bool:
    return _holds(ratio, 1.0)


def _holds(interval: Mapping[str, Any], value: float) -> bool:
    ends = interval["low"], interval["high"]
    return None not in ends and ends[0] <= value <= ends[1]


def _corrected(fronts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is shown of the opponents together, corrected for how many there are."""
    known = [front for front in fronts if front.get("p_holm") is not None]
    if len(known) < 2:
        return []
    shown: dict[str, list[str]] = {"larger": [], "smaller": [], "": []}
    for front in known:
        word = "larger" if front["ratio"]["test"]["value"] > 1.0 else "smaller"
        is_shown = front["p_holm"] <= 1.0 - LEVEL
        shown[word if is_shown else ""].append(f"{front['name']} (p = {front['p_holm']:.2g})")
    parts = [
        f"{word} than that of {', '.join(shown[word])}"
        for word in ("larger", "smaller")
        if shown[word]
    ]
    text = f"Corrected for {len(known)} opponents (Holm), the search's hypervolume on test data "
    text += f"is shown to be {' and '.join(parts)}" if parts else "is not shown to differ from any"
    if parts and shown[""]:
        text += f", and not shown to differ from that of {', '.join(shown[''])}"
    elif not parts:
        text += f": {', '.join(shown[''])}"
    return [f"{text}."]


def _at_fixed(
    fixed: Mapping[str, Any] | None, objectives: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return the first objective of the search and of the opponent at fixed other values."""
    if fixed is None:
        return []
    up = {one["name"]: one["maximise"] for one in objectives}
    first = next(one["name"] for one in objectives if one["searched"])
    limits = " and ".join(
        f"{name} at {'least' if up[name] else 'most'} {value:.4g}"
        for name, value in fixed["bounds"].items()
    )
    which = "medians" if fixed["quantile"] == 0.5 else f"{fixed['quantile']:.0%} quantiles"
    text = f"With {limits} on validation data ({which} of the points of {fixed['opponent']}), "
    search, *others = fixed["fronts"]
    other = next((one for one in others if one["name"] == fixed["opponent"]), None)
    if search["value"] is None:
        return [f"{text}the search has no point."]
    text += f"{first} of the search on test data is {_exact(search['value'])}"
    if other is None or other["more"] is None or other["more"]["value"] is None:
        return [f"{text}."]
    more = other["more"]
    text += f", that of {fixed['opponent']} {_exact(other['value'])}: a difference of "
    text += _exact(more, ", which holds 0" if _holds(more, 0.0) else "")
    if other["percent"] is not None and other["percent"]["value"] is not None:
        text += f", {other['percent']['value']:+.1f} %"
    return [f"{text}."]


def _exact(interval: Mapping[str, Any], note: str = "") -> str:
    """Format a small value with its interval to four decimals."""
    form = "{:.4f}" if abs(interval["value"]) < 1000 else "{:.4g}"
    text = form.format(interval["value"])
    if None in (interval["low"], interval["high"]):
        return text
    low, high = (form.format(interval[end]) for end in ("low", "high"))
    return f"{text} (95 % interval {low} to {high}{note})"


def _biased(
    points: Sequence[Mapping[str, Any]], objectives: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return by how much extremes of groups are too extreme, of the search's points."""
    sentences = []
    for objective in objectives:
        own = [row for row in points if row["front"] == SEARCH]
        tests = [row["values"].get(objective["name"], {}).get("test", {}) for row in own]
        known = sorted(one["bias"] for one in tests if one.get("bias") is not None)
        bias = known[len(known) // 2] if known else 0.0
        if objective["searched"] and bias:
            side = "below" if bias < 0 else "above"
            sentences.append(
                f"{objective['name']} is an extreme of noisy group means: on test data the median "
                f"point of the search lies {abs(bias):.2g} {side} its median-unbiased estimate."
            )
    return sentences


def _against_others(fronts: Sequence[Mapping[str, Any]], best: str | None) -> list[str]:
    """Return the ratios to the opponents besides the strongest, in one sentence."""
    parts = []
    for front in fronts[1:]:
        ratio = front["ratio"]["test"]
        if front["name"] in (best, ALL) or ratio is None:
            continue
        note = ", which holds 1" if _holds_one(ratio) else ""
        parts.append(f"{_spread(ratio, 2, note)} times {front['name']}")
    return [f"Against the other opponents on test data: {'; '.join(parts)}."] if parts else []


def _thousand(volume: Mapping[str, Any]) -> str:
    scaled = {k: None if v is None else 1000 * v for k, v in volume.items()}
    return _spread(scaled, 3)


def _spread(interval: Mapping[str, Any], digits: int, note: str = "") -> str:
    """Format a value with its interval, and what is to be said of the interval."""
    text = _shown(interval["value"], digits)
    if interval["low"] is None or interval["high"] is None:
        return text
    low, high = (_shown(interval[end], digits) for end in ("low", "high"))
    return f"{text} (95 % interval {low} to {high}{note})"


def _shown(value: float, digits: int) -> str:
    """Format a number for people: a hypervolume may have a dozen digits, or only zeros."""
    usual = value == 0 or 0.1 <= abs(value) < 1000
    return f"{value:.{digits}f}" if usual else f"{value:.4g}"


def _lost(rivals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return opponents that have more hypervolume than the search on test data."""
    better = [
        rival
        for rival in rivals
        if rival["ratio"]["test"] and rival["ratio"]["test"]["value"] < 1.0
    ]
    return [
        f"{rival['name']} ({rival['records']:,} settings): more hypervolume on test data than the "
        "search (ratio "
        f"{_spread(rival['ratio']['test'], 2)})."
        for rival in better
    ]


def _best_values(
    points: Sequence[Mapping[str, Any]], searched: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return objectives in which a feasible point of an opponent beats all of the search's."""
    sentences = []
    for objective in searched:
        sign = 1.0 if objective["maximise"] else -1.0
        best: dict[bool, tuple[float, str]] = {}
        for row in points:
            mean = row["values"][objective["name"]]["test"]["mean"]
            if mean is None or not row["feasible"]:
                continue
            mine, entry = row["front"] == SEARCH, (sign * mean, str(row["front"]))
            best[mine] = max(best.get(mine, entry), entry)
        if False not in best:
            continue
        (value, name), own = best[False], best.get(True)
        reached = f"{sign * value:.4f}"
        ours = None if own is None else f"{sign * own[0]:.4f}"
        if own is None or (value > own[0] and reached != ours):
            rest = "" if ours is None else f" (its best: {ours})"
            sentences.append(
                f"{name} reaches {objective['name']} = {reached} on test data, better than any "
                f"confirmed point of the search{rest}."
            )
    return sentences
