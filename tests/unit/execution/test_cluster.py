"""Addresses of clusters, and what is said where nobody answers."""

from __future__ import annotations

import socket

import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.execution.workers import cluster
from pareto_rec.execution.workers.cluster import Cluster, check_address


def test_an_address_as_dask_writes_it() -> None:
    assert check_address("dask://node-1:8786") == "tcp://node-1:8786"
    assert check_address("dask://[::1]:8786") == "tcp://[::1]:8786"


@pytest.mark.parametrize(
    "address",
    ["dask://", "dask://host", "dask://host:", "dask://:8786", "ray://host:8786", "host:1"],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(BadRequestError, match=r"write dask://HOST:PORT of a Dask scheduler"):
        check_address(address)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(BadRequestError, match=r"pip install \"pareto_rec\[dask\]\""):
        check_address("dask://host:8786")


def test_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BadRequestError, match="no scheduler answers"):
        Cluster(f"dask://127.0.0.1:{port}", lambda *_: None)
