"""The shared encoder: where it comes from, its cut and precision, and its cached states."""
