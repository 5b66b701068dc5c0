"""Ablations: the same experiment with one part removed or replaced."""
