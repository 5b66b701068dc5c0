"""What every part may know: errors, seeds, files, provenance, threads."""
