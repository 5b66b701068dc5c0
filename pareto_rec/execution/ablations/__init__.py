"""The same experiment with one part taken away or replaced."""
