"""Pictures of fronts as files."""
