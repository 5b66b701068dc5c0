"""Foundations of every package: errors, seeds, files, provenance, threads."""
