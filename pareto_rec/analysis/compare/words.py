"""A comparison in lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pareto_rec.core.wording import thousand_fold


def lines(content: Mapping[str, Any]) -> list[str]:
    """Return a comparison for people.

    Args:
        content: From :func:`compare_runs`.
    """
    text = [
        f"union of all fronts: {content['union']['points']} points, hypervolume x 1000 "
        f"{thousand_fold(content['union']['hypervolume'])}",
        "",
        "group  seed  fits  records  front  hypervolume x 1000    IGD+  run",
    ]
    for row in content["runs"]:
        fits = "?" if row["fits"] is None else row["fits"]
        text.append(
            f"{row['group']:>5} {row['seed']!s:>5} {fits!s:>5} {row['records']:>8} "
            f"{row['front']:>6} {thousand_fold(row['hypervolume']):>19} {row['igd_plus']:>7.4f}  "
            f"{row['run']}"
        )
    for group in content["groups"]:
        if group["hypervolume"]["sd"] is not None:
            text += ["", _of_group(group)]
    paired = content["paired"]
    if paired["reason"] is not None:
        text += ["", f"no intervals over users: {paired['reason']}"]
    elif paired["pairs"]:
        text += ["", *_of_paired(paired)]
    if content["between_groups"]:
        text += ["", "between groups, over their seeds (Welch; p corrected by Holm):"]
        text += [_of_groups(row) for row in content["between_groups"]]
    return text


def _of_paired(paired: Mapping[str, Any]) -> list[str]:
    left_out = paired["left_out"]
    of = f", hypervolume of {' and '.join(paired['objectives'])} alone" if left_out else ""
    return [
        *(f"no intervals over users for {name}: {reason}" for name, reason in left_out.items()),
        f"paired over users{of} (95 % interval; p corrected by Holm):",
        *(_of_pair(pair) for pair in paired["pairs"]),
    ]


def _of_group(group: Mapping[str, Any]) -> str:
    volume = group["hypervolume"]
    text = (
        f"group {group['group']}: {len(group['runs'])} runs, hypervolume x 1000 "
        f"{thousand_fold(volume['mean'])} (sd {thousand_fold(volume['sd'])})"
    )
    if group["attained"] is None:
        return text
    parts = (f"by {name} {thousand_fold(value)}" for name, value in group["attained"].items())
    return f"{text}; attained {', '.join(parts)}"


def _of_pair(pair: Mapping[str, Any]) -> str:
    ratio = pair["ratio"]
    if ratio is None:
        return f"  {pair['run']} / {pair['other']}: the second is worth nothing"
    text = f"{ratio['value']:.3f}"
    if ratio["low"] is not None and ratio["high"] is not None:
        text += f" ({ratio['low']:.3f} to {ratio['high']:.3f})"
    return f"  {pair['run']} / {pair['other']}: {text}, p = {pair['p_holm']:.3g}"


def _of_groups(row: Mapping[str, Any]) -> str:
    text = f"  {row['group']} - {row['other']}: {thousand_fold(row['difference'])}"
    if row["low"] is not None:
        text += f" ({thousand_fold(row['low'])} to {thousand_fold(row['high'])})"
    return f"{text}, p = {row['p_holm']:.3g}"
