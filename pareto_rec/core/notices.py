"""Notices for the user on standard error, each once per process."""

from __future__ import annotations

import logging
from functools import cache

_LOG = logging.getLogger("pareto_rec")


@cache
def notice(line: str) -> None:
    """Say a line; Python's own logging prints it unless a program has set up another place."""
    _LOG.warning(line)
