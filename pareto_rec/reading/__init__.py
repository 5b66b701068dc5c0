"""From the files of a run directory to one frozen value: it knows files, not their writers."""
