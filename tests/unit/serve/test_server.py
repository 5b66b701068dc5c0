"""The end of a listening socket."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest

pytest.importorskip("uvicorn", reason="the serve extra is not installed")

from pareto_rec.serve.server import let_nobody_in


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_whoever_was_let_in_stays_and_nobody_else_comes(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("no such address here")
    port, found = listener.getsockname()[1], list[str]()

    def come() -> None:
        try:
            socket.create_connection((address, port), timeout=10).close()
            found.append("let in")
        except ConnectionRefusedError:
            found.append("refused")

    with socket.create_connection((address, port), timeout=10) as early:
        assert let_nobody_in(listener)
        late = threading.Thread(target=come)
        late.start()
        time.sleep(0.2)
        assert found == []
        taken, _ = listener.accept()
        with taken:
            early.sendall(b"ask")
            assert taken.recv(3) == b"ask"
            listener.close()
            taken.sendall(b"answer")
            assert early.recv(6) == b"answer"
        late.join()
    assert found == ["refused"]
