"""Loops that PyTorch has no operator for, compiled for one core of a processor (numba).

A training step on a CPU is bound by how often the same numbers are read, not by arithmetic: an
expression of ten operators reads them ten times. Here they are read once. The callers hold
the same in PyTorch for everything that is not float32 on a CPU.
"""
