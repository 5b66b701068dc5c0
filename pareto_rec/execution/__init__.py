"""One search from its config to a finished run directory, and going on with it."""
