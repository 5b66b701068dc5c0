"""Command ``pick``: an operating point, or a mixture of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pareto_rec.cli.shared import Json, RunPath, show
from pareto_rec.core.errors import BadRequestError, unknown

if TYPE_CHECKING:
    from pareto_rec.analysis.decide import Bound, Picker, Points

METHODS = ("asf", "pseudo")
RULES = "--best, --weights, --knee, --utopia, --per-user or --point"


def pick(
    run: RunPath,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="BOUND", help='A bound such as "ndcg@10>=0.15"; repeatable.'),
    ] = None,
    best: Annotated[
        str | None, typer.Option(metavar="OBJECTIVE", help="Pick the best point in one objective.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="A=..,B=..", help="Weights of the objectives, on the front's range."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="With --weights: asf, the smallest largest weighted loss (default), or pseudo, "
            "the point placed on the front as the weights say."
        ),
    ] = None,
    knee: Annotated[
        bool, typer.Option("--knee", help="Pick the knee: the point with the steepest trade-offs.")
    ] = False,
    utopia: Annotated[
        bool,
        typer.Option("--utopia", help="Pick the point nearest to the best of every objective."),
    ] = False,
    per_user: Annotated[
        bool,
        typer.Option("--per-user", help="Pick the point nearest, on average, to each user's best."),
    ] = False,
    point: Annotated[str | None, typer.Option(metavar="ID", help="Pick this point.")] = None,
    mixture: Annotated[
        bool,
        typer.Option(
            "--mixture",
            help="With --best: the randomised policy over points that is best in it, where the "
            "bounds hold on average.",
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Pick an operating point of a run, show what it costs, and note it in picks.json.

    Values are those of the validation data; where confirm has run, its values on test data are
    shown beside them, and no rule looks at them.

    Example: pareto-rec pick results/tiny/run --where "ndcg@10>=0.15" --best ild@10
    """
    rules = {
        "best": best,
        "weights": weights,
        "knee": knee,
        "utopia": utopia,
        "per_user": per_user,
        "point": point,
    }
    rules_given = [name for name, value in rules.items() if value not in (None, False)]
    _check(rules_given, method, mixture=mixture)
    from pareto_rec.analysis.decide import Bound
    from pareto_rec.analysis.picks import points_of, read_picks
    from pareto_rec.core.leftovers import sweep_below
    from pareto_rec.runs.reader import read_run

    bounds = [Bound.read(text) for text in where or []]
    picker = _picker(rules_given[0], rules[rules_given[0]], method)
    sweep_below(run, 1)
    points = points_of(read_run(run), per_user=per_user)
    read_picks(run)  # a damaged history is refused before any work
    if mixture:
        _pick_mixture(run, points, picker, bounds, str(best), as_json=json_)
    else:
        _pick_point(run, points, picker, bounds, as_json=json_)


def _check(rules: Sequence[str], method: str | None, *, mixture: bool) -> None:
    if len(rules) != 1:
        names = " and ".join("--" + name.replace("_", "-") for name in rules) or "none"
        raise BadRequestError(f"say how to pick, in one way ({RULES}); found {names}")
    if mixture and rules != ["best"]:
        raise BadRequestError("--mixture takes --best OBJECTIVE, and --where for the others")
    if method is not None and rules != ["weights"]:
        raise BadRequestError("--method belongs to --weights")
    if method is not None and method not in METHODS:
        raise unknown("method", method, METHODS)


def _picker(rule: str, value: object, method: str | None) -> Picker:
    from pareto_rec.analysis.decide import PICKERS

    if rule == "weights":
        return PICKERS[method or METHODS[0]](_weights(str(value)))  # type: ignore[call-arg]
    return PICKERS[rule](*([] if value is True else [value]))


def _weights(text: str) -> dict[str, float]:
    """Return weights of a text such as ``ndcg@10=0.7,ild@10=0.3``."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, sign, value = part.rpartition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if not sign or not name.strip() or not math.isfinite(weight):
            raise BadRequestError(
                f'weights "{text}" cannot be read at "{part}": write for example '
                '"ndcg@10=0.7,ild@10=0.3"'
            )
        if name.strip() in weights:
            raise BadRequestError(f'weights "{text}" name {name.strip()} twice')
        weights[name.strip()] = weight
    return weights


def _pick_point(
    run: Path, points: Points, picker: Picker, bounds: Sequence[Bound], *, as_json: bool
) -> None:
    from pareto_rec.analysis.decide import choose
    from pareto_rec.analysis.decide.table import pick_lines
    from pareto_rec.analysis.picks import entry_of, remember
    from pareto_rec.runs.confirmation import CSV, read_confirmed_values, void_of

    void = void_of(run)
    confirmed = read_confirmed_values(run / CSV)
    choice = choose(points, picker, bounds)
    entry = entry_of(choice, picker, bounds)
    remember(run, entry)
    steps = [
        {"gains": e.gains, "point": points.ids[e.row], "change": e.change} for e in choice.steps
    ]
    test = asdict(confirmed[choice.id]) if choice.id in confirmed else None
    lines = [*pick_lines(points, choice, confirmed), *([void] if test and void else [])]
    content = {**entry, "tied": choice.tied, "steps": steps, "test": test, "void": void}
    show(content, [*lines, "", f"noted in {run / 'picks.json'}"], as_json=as_json)


def _pick_mixture(
    run: Path, points: Points, picker: Picker, bounds: Sequence[Bound], goal: str, *, as_json: bool
) -> None:
    from pareto_rec.analysis.decide import mix
    from pareto_rec.analysis.decide.table import mixture_lines
    from pareto_rec.analysis.picks import entry_of, remember

    mixture = mix(points, goal, bounds)
    entry = entry_of(mixture, picker, bounds)
    remember(run, entry)
    lines = [*mixture_lines(points, mixture), "", f"noted in {run / 'picks.json'}"]
    show({**entry, "prices": mixture.prices, "single": mixture.single}, lines, as_json=as_json)
