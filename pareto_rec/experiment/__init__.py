"""From a config to everything that is evaluated."""
