"""Experiment configs, validated and frozen."""

from pareto_rec.experiment.config.sections import SearchConfig, ServingSearchConfig, SplitConfig
from pareto_rec.experiment.config.whole import Config, load_config, load_data_config, parse_config

__all__ = [
    "Config",
    "SearchConfig",
    "ServingSearchConfig",
    "SplitConfig",
    "load_config",
    "load_data_config",
    "parse_config",
]
