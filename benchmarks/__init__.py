"""Benchmarks and evidence: measurements, what they are compared with, and their commands."""
