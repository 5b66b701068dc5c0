"""From fronts to evidence and choices: confirmation, comparison, picking."""
