"""Training: variables, batches, the step of a pack, and stored fits."""
