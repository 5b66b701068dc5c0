"""Keeping a bundle fresh: what changed, what is learnt from it, and whether it may replace it."""
