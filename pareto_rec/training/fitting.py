"""Training of packs: candidates are fitted together, in one go or in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from pareto_rec.training.data import (
    Checkpoint,
    Fit,
    Monitor,
    TrainData,
    check_losses,
)
from pareto_rec.training.pack import Pack
from pareto_rec.training.spec import TrainSpec, pack_key


def train_pack(
    specs: Sequence[TrainSpec],
    seeds: Sequence[int],
    data: TrainData,
    monitor: Monitor,
    *,
    pack_size: int,
    starts: Sequence[Mapping[str, Tensor]] = (),
) -> list[Fit]:
    """Fit every candidate, those of equal shape together.

    Args:
        specs: Training variables, one per candidate.
        seeds: One seed per candidate; initial values and draws depend on it alone.
        data: What training reads.
        monitor: Validation value of relevance scores, larger is better.
        pack_size: Most candidates trained together.
        starts: Parameters to go on from, one set per candidate; none to begin anew.

    Returns:
        One fit per candidate, in the order given. A candidate whose loss is not finite fails alone.

    Raises:
        BadRequestError: If a loss asks for what the data does not have.
    """
    for spec in specs:
        check_losses(spec, data)
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, spec in enumerate(specs):
        groups.setdefault(pack_key(spec), []).append(index)
    fits: dict[int, Fit] = {}
    for members in groups.values():
        for begin in range(0, len(members), pack_size):
            part = members[begin : begin + pack_size]
            begun = [starts[i] for i in part] if starts else ()
            pack = Pack([specs[i] for i in part], [seeds[i] for i in part], data, begun)
            fits |= dict(zip(part, pack.run(monitor), strict=True))
    return [fits[index] for index in range(len(specs))]


def resume_pack(
    specs: Sequence[TrainSpec],
    seeds: Sequence[int],
    data: TrainData,
    monitor: Monitor,
    *,
    until: int,
    standings: Sequence[Checkpoint] = (),
) -> list[Checkpoint | Fit]:
    """Train one pack up to a step, from the beginning or from where it stands.

    A fit that goes through any number of these in unchanged company is bit for bit the fit that
    :func:`fit` trains in one go.

    Args:
        specs: Training variables, one per candidate, all of one pack.
        seeds: One seed per candidate.
        data: What training reads.
        monitor: Validation value of relevance scores, larger is better.
        until: Steps to have made in the end: a multiple of ``check_every``, or all of them.
        standings: Where the candidates stand, all after the same step; none to begin.

    Returns:
        Where each candidate stands now; its fit where it failed, or has made its last step.

    Raises:
        BadRequestError: If a loss asks for what the data does not have.
    """
    for spec in specs:
        check_losses(spec, data)
    pack = Pack(specs, seeds, data)
    if standings:
        pack.go_on(standings)
    fits = pack.run(monitor, until)
    if until >= specs[0].steps:
        return list(fits)
    return [fit if fit.reason else pack.standing(i, fit) for i, fit in enumerate(fits)]
