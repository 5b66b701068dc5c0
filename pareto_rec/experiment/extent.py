"""How much of the data an experiment evaluates, for run.json."""

from __future__ import annotations

from pareto_rec.baselines import stand_ins
from pareto_rec.data.schema import Stage
from pareto_rec.evaluation.evaluator import Evaluator
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.objectives import GroupObjective


def limited_by_size(experiment: Experiment, stage: Stage, evaluator: Evaluator) -> dict[str, str]:
    """What large data is not given in full, in words: whom is measured, which experts stand in."""
    asked, users = evaluator.stage.shape[0], len(stage.users)
    found = stand_ins(experiment.experts, len(stage.items))
    said = {f"expert {name}": f"{words}" for name, words in found.items()}
    chosen = experiment.config.sample
    bounds = {"users": chosen.users, "items": chosen.items}
    if any(bounds.values()):
        words = " and ".join(f"{most:,} {what}" for what, most in bounds.items() if most)
        said["data"] = f"a sample, of {words} at most"
    if asked < users:
        said["evaluated users"] = f"a seeded sample of {asked:,} out of {users:,}"
    return said


def measured_groups(
    experiment: Experiment, evaluator: Evaluator
) -> dict[str, dict[str, dict[str, int]]]:
    """Measured users of every group that an objective compares, and of those that are too small.

    Returns:
        Objective -> ``measured`` and ``left_out`` -> group -> users.
    """
    own, groups = evaluator.measuring, {}
    fewest = max(own.catalogue.users.min_group, 1)
    for one in experiment.objectives.all:
        if isinstance(one, GroupObjective):
            truth = own.held_out.get(one.signal or own.relevance, own.held_out[own.relevance])
            sizes = one.sizes(own.catalogue, truth)
            groups[one.name] = {
                "measured": {name: n for name, n in sizes.items() if n >= fewest},
                "left_out": {name: n for name, n in sizes.items() if n < fewest},
            }
    return groups
