"""From training variables to fits: batches, the step of a pack, and where fits are kept."""
