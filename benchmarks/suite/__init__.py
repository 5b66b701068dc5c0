"""Benchmarks of a fit, a step, a list and a start, each compared with something else."""
