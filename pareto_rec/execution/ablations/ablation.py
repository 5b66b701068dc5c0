"""Ablations of a finished search: the controls' runs, and what each part buys in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pareto_rec.core.checksums import signed
from pareto_rec.core.paths import written_whole
from pareto_rec.core.wording import thousand_fold
from pareto_rec.execution.ablations.kinds import Control, applicable, derive
from pareto_rec.execution.callbacks import SearchCallback
from pareto_rec.experiment.config import Config

FILE = "controls.json"


def run_controls(
    config: Config,
    run: Path,
    *,
    search: Callable[..., Path],
    watching: Callable[[Config], AbstractContextManager[SearchCallback]],
) -> Path:
    """Run every control that fits the config, and compare hypervolumes.

    Args:
        config: Of the finished search.
        run: Its run directory; controls are run directories below ``controls/`` in it.
        search: `search_experiment`, told how and where to work; it is given config, run directory
            and `callbacks`.
        watching: From a control's config to where its progress is shown.

    Returns:
        ``controls.json``, replaced after every control.
    """
    main = json.loads((run / "run.json").read_text(encoding="utf-8"))
    results: dict[str, Any] = {
        "search": {"hypervolume": main["hypervolume"]["front"], **main["counts"]},
        "controls": [],
    }
    path = run / FILE
    for control in applicable(config):
        out, table = run / "controls" / control.name, derive(config, control)
        with watching(table) as callback:
            callback.on_stage(f"control: {control.instead}")
            search(table, out, callbacks=[callback])
        info = json.loads((out / "run.json").read_text(encoding="utf-8"))
        results["controls"].append(_row(control, info, float(main["hypervolume"]["front"])))
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(signed(results), indent=2) + "\n", encoding="utf-8")
    return path


def _row(control: Control, info: dict[str, Any], searched: float) -> dict[str, Any]:
    volume = float(info["hypervolume"]["front"])
    return {
        "name": control.name,
        "instead": control.instead,
        "hypervolume": volume,
        **info["counts"],
        "says": sentence(control, volume, searched),
    }


def sentence(control: Control, volume: float, searched: float) -> str:
    """Return what a control says about the part that it replaces.

    Args:
        control: What was done instead.
        volume: Its hypervolume.
        searched: Hypervolume of the search itself.
    """
    head = (
        f"With {control.instead}, the hypervolume x 1000 is {thousand_fold(volume)} "
        f"instead of {thousand_fold(searched)}"
    )
    if searched <= 0 or volume <= 0:
        return f"{head}."
    change = 100 * (searched / volume - 1)
    if abs(change) < 0.5:
        return f"{head}; {control.part} changed nothing here."
    return f"{head}; {control.part} {'bought' if change > 0 else 'cost'} {abs(change):.0f} %."
