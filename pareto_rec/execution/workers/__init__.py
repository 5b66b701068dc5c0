"""Who evaluates packs: local processes, a cluster, and what becomes of failures."""
