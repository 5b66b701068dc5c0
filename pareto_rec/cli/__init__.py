"""Commands, one module each; each imports what is heavy inside its function, and prints."""
