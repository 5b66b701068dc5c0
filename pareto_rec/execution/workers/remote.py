"""Requirements of jobs on other machines: the same code, and the same folder of files."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pareto_rec.core.errors import RunFailedError
from pareto_rec.core.paths import CACHE_VARIABLE, written_whole
from pareto_rec.core.threads import one_thread
from pareto_rec.execution.workers.pool import WorkerDied
from pareto_rec.execution.workers.timeout import OvertimeError, run_with_timeout
from pareto_rec.experiment.identity import code_hash

Job = Callable[[Any, Any, Path], Any]  # evaluator, argument, root of the cache

_ONE_AT_A_TIME = threading.Lock()  # threads of a worker share one evaluator


@dataclass(frozen=True)
class Shared:
    """What a worker must see.

    Attributes:
        cache: Root of the cache, below the same path on every machine.
        token: Name of a file in it that only this run has written.
        code: Hash of the code that decides results.
    """

    cache: Path
    token: str
    code: str


@contextmanager
def shared_folder(cache: Path) -> Iterator[Shared]:
    """Mark a cache for as long as the block lasts, so that workers know it for the same one."""
    token = f".shared-{secrets.token_hex(8)}"
    with written_whole(cache / token) as temporary:
        temporary.touch()
    try:
        yield Shared(cache, token, code_hash())
    finally:
        (cache / token).unlink(missing_ok=True)


def on_cluster(
    shared: Shared,
    build: Callable[[str, Path], Any],
    config_json: str,
    job: Job,
    argument: object,
    limit: float | None,
) -> Any:
    """Run a job in a worker of a cluster; data and features are read once in each.

    Args:
        shared: What the worker must see.
        build: Makes the evaluator of a config, or finds that of the last call.
        config_json: The config.
        job: Takes the evaluator, the argument and the cache.
        argument: Of the job.
        limit: Seconds that it may take.

    Returns:
        What the job returns, or `WorkerDied` if it took more than `limit` seconds.

    Raises:
        RunFailedError: If the worker runs other code, or does not see the cache.
    """
    host = socket.gethostname()
    if code_hash() != shared.code:
        raise RunFailedError(
            f"a worker on {host} has another version of pareto_rec; install this one there"
        )
    if not (shared.cache / shared.token).is_file():
        raise RunFailedError(
            f"a worker on {host} does not see {shared.cache}; set {CACHE_VARIABLE} to a folder "
            "that all machines share under one name"
        )
    with _ONE_AT_A_TIME:
        evaluator = build(config_json, shared.cache)

    def work() -> Any:
        with one_thread():
            return job(evaluator, argument, shared.cache)

    if limit is None:
        return work()
    try:
        return run_with_timeout(limit, work)
    except OvertimeError as error:
        return WorkerDied(str(error), overtime=True)
