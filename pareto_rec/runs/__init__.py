"""Runs on disk: records, the append-only store, the run directory, and their readers."""
