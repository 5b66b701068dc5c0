"""Experiment configs, validated and frozen."""

from pareto_rec.experiment.config.sections import SearchConfig, ServingSearchConfig, SplitConfig
from pareto_rec.experiment.config.systems import SystemsConfig
from pareto_rec.experiment.config.whole import (
    Config,
    load_any_config,
    load_config,
    load_data_config,
    parse_config,
)

AnyConfig = Config | SystemsConfig

__all__ = [
    "AnyConfig",
    "Config",
    "SearchConfig",
    "ServingSearchConfig",
    "SplitConfig",
    "SystemsConfig",
    "load_any_config",
    "load_config",
    "load_data_config",
    "parse_config",
]
