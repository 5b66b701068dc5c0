"""Benchmarks: what a fit, a step, a list and a start cost, each held against something else."""
