"""Fine-tuning of upper layers: states below the cut are on disk, layers above it run live."""
