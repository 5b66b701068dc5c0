"""Workers: local processes or a cluster, and the handling of failures."""
