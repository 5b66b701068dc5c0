"""Evaluation of trials: training, lists, their cost, and objective values."""
