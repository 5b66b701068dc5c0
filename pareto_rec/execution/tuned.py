"""Tuning of the baselines of a run: chosen once, before anything is searched, and written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pareto_rec.evaluation.tuning import most_settings, tuned_baselines
from pareto_rec.experiment.config import Config, load_config
from pareto_rec.experiment.experiment import Experiment
from pareto_rec.runs.directory import CONFIG


def with_choices_of(run: Path, info: Mapping[str, Any], config: Config) -> Config:
    """Return a config with the parameters that its run had chosen, to go on with.

    Args:
        run: The run directory, whose config.toml holds them.
        info: What its run.json says.
        config: What to go on with; parameters that it gives itself stay as they are.
    """
    chosen = info.get("experts") or {}
    given = {
        name: values
        for name, values in load_config(run / CONFIG).baseline_parameters.items()
        if name in chosen and name not in config.baseline_parameters
    }
    if not given:
        return config
    parameters = {**config.baseline_parameters, **given}
    return config.model_copy(update={"baseline_parameters": parameters})


def tuned(
    experiment: Experiment, before: Mapping[str, Any], on_stage: Callable[[str], None]
) -> tuple[Experiment, dict[str, Any]]:
    """Choose parameters of the baselines whose parameters the config does not give.

    Args:
        experiment: The experiment.
        before: What run.json said of the baselines of a run that goes on; else empty.
        on_stage: Told what takes a while.

    Returns:
        The experiment with what was chosen in its config, and what run.json says of it: baseline
        -> ``parameters``, ``value`` and ``default_value`` of ``metric`` on validation data,
        ``default``, ``tried``, ``seconds`` and ``cut_short``.

    Raises:
        BadRequestError: As :func:`pareto_rec.evaluation.tuning.tuned_baselines`.
    """
    config = experiment.config
    free = {
        name: experiment.baselines[name]
        for name in experiment.experts
        if name not in config.baseline_parameters
    }
    said = {name: entry for name, entry in before.items() if name in experiment.experts}
    if not free:
        return experiment, said
    on_stage("tuning baselines")
    choices = tuned_baselines(
        free,
        experiment.split.validation,
        config.tuning,
        relevance=config.data.relevance,
        cache=experiment.cache,
    )
    for name, choice in choices.items():
        if choice.cut_short:
            on_stage(
                f"expert {name}: tuning ended after {choice.tried} of "
                f"{most_settings(free[name], config.tuning)} "
                f"settings, tuning.seconds = {config.tuning.seconds:g} were over"
            )
    said |= {name: asdict(choice) for name, choice in choices.items()}
    chosen = {name: choice.parameters for name, choice in choices.items()}
    return experiment.with_baseline_parameters(chosen), said


def with_tuned_baseline(
    experiment: Experiment, name: str, on_stage: Callable[[str], None]
) -> tuple[Experiment, dict[str, Any]]:
    """Return an experiment with one more baseline, tuned on its validation data.

    Args:
        experiment: Whose; returned as it is where it has the baseline.
        name: Of the baseline; parameters that the config gives stay.
        on_stage: Told what takes a while.

    Returns:
        The experiment, and what was chosen as :func:`tuned` says it; no more than the
        ``parameters`` of a baseline that is not tuned here.

    Raises:
        BadRequestError: As :func:`pareto_rec.evaluation.tuning.tuned_baselines`.
    """
    config, changed = experiment.config, experiment.with_baseline(name)
    if changed is experiment or name in config.baseline_parameters:
        return changed, {name: {"parameters": dict(changed.baselines[name].parameters())}}
    on_stage(f"tuning {name}")
    choices = tuned_baselines(
        {name: experiment.baselines[name]},
        experiment.split.validation,
        config.tuning,
        relevance=config.data.relevance,
        cache=experiment.cache,
    )
    chosen = {name: choice.parameters for name, choice in choices.items()}
    said = {name: asdict(choice) for name, choice in choices.items()}
    return changed.with_baseline_parameters(chosen), said
