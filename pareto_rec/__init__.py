"""Multi-objective recommenders on one shared BERT backbone."""
