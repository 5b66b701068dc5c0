"""Execution of a search: from its config to a finished run directory, and resuming it."""
