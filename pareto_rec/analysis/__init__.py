"""Evidence and choices for fronts: confirmation, comparison, picking."""
