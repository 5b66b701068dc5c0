"""What a search writes down: records, the append-only store, the run directory."""
