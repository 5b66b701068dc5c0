"""What a service does with clients and files that mean no good, or that are slow."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from learnt_bundle import learnt_parts
from running_service import HOST, Client, in_thread

from pareto_rec.bundle import Bundle, NewItem, write_bundle
from pareto_rec.cli.main import main
from pareto_rec.core.threads import one_thread
from pareto_rec.serve.app import create_app
from pareto_rec.serve.limits import MOST_BATCH, MOST_HISTORY, MOST_ITEMS, MOST_K, Limits


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with one_thread():
        yield Bundle.of(learnt_parts(tmp_path_factory.mktemp("parts")))


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Iterator[Client]:
    limits = Limits(body_bytes=20_000, seconds=1.0, added=3, drain_seconds=0)
    with in_thread(create_app(bundle, limits, allow_items=True), limits) as one:
        yield one


HALF_A_BODY = b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{"


class Slow:
    """A bundle whose answers take as long as the user's name says, or that is broken.

    It takes half a second to add items.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.real = bundle

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def recommend_many(self, requests: Sequence[Any]) -> Any:
        for one in requests:
            if one.user == "broken":
                raise RuntimeError("a secret of the inside")
            if one.user is not None and one.user.startswith("wait"):
                time.sleep(float(one.user.removeprefix("wait")))
        return self.real.recommend_many(requests)

    def with_items(self, items: Sequence[NewItem], *features: Any) -> Bundle:
        time.sleep(0.5)
        return self.real.with_items(items, *features)


REQUESTS: list[tuple[object, str]] = [
    ({}, "give a user or a history"),
    ({"usr": "u1"}, "usr: unknown key"),
    ({"user": 1.5}, "user: Input should be a valid string"),
    ({"user": True}, "user: Input should be a valid string"),
    ({"user": 10**300}, "user: String should have at most 256 characters"),
    ({"history": ["i1", 2.5]}, "history.1.id: Input should be a valid string"),
    ({"user": ""}, "user: String should have at least 1 character"),
    ({"user": "\ud800"}, "user: Input should be a valid string"),
    ({"user": "u1", "k": 0}, "k: Input should be greater than or equal to 1"),
    ({"user": "u1", "k": MOST_K + 1}, f"k: Input should be less than or equal to {MOST_K}"),
    ({"user": "u1", "k": MOST_K}, "k = 100 must be a whole number from 1 to 60"),
    ({"user": "u1", "k": "5"}, "k: Input should be a valid integer"),
    ({"user": "u1", "k": 5.5}, "k: Input should be a valid integer"),
    ({"user": "u1", "explain": 1}, "explain: Input should be a valid boolean"),
    ({"history": "i1"}, "history: Input should be a valid list"),
    ({"history": ["i1"] * (MOST_HISTORY + 1)}, f"history: List should have at most {MOST_HISTORY}"),
    ({"user": "u1", "point": "nowhere"}, "unknown point of the bundle"),
    ({"user": "u1", "prefer": {}}, "prefer: Dictionary should have at least 1 item"),
    ({"user": "u1", "prefer": {"ndcg@5": 0}}, "give at least one objective a weight above 0"),
    ({"user": "u1", "prefer": {"ndcg@5": -1}}, "prefer.ndcg@5: Input should be greater than"),
    ({"user": "u1", "prefer": {"ndcg@6": 1}}, 'did you mean "ndcg@5"?'),
    ([], "List should have at least 1 item"),
    ([{"user": "u1"}] * (MOST_BATCH + 1), f"65 lists in one request; at most {MOST_BATCH}"),
    ([{"user": "u1"}, {}], "give a user or a history"),
    ([{"user": "u1"}, {"k": 0}], "1.k: Input should be greater than"),
    (3, "Input should be a valid dictionary"),
    (None, "Input should be a valid dictionary"),
]


@pytest.mark.parametrize(("asked", "said"), REQUESTS)
def test_a_request_that_makes_no_sense_gets_one_line(
    asked: object, said: str, client: Client
) -> None:
    answer = client.ask("POST", "/recommend", raw=json.dumps(asked).encode())
    assert (answer.status, list(answer.content)) == (422, ["error"])
    assert said in answer.content["error"]
    assert "\n" not in answer.content["error"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 10_000, 400),
        (b'{"k": ' + b"9" * 5000 + b"}", 400),
        (b'{"user": "u1", "prefer": {"ndcg@5": Infinity}}', 422),
        (b'{"user": "u1", "prefer": {"ndcg@5": NaN}}', 422),
        (b'{"user": "u1", "user": "u2", "k": 1e2}', 422),
        (b"", 422),
    ],
)
def test_a_body_that_is_no_json(raw: bytes, status: int, client: Client) -> None:
    answer = client.ask("POST", "/recommend", raw=raw)
    assert (answer.status, list(answer.content)) == (status, ["error"])


def test_no_such_place_or_method(client: Client) -> None:
    assert client.ask("GET", "/nothing").status == 404
    wrong = client.ask("GET", "/recommend")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert list(wrong.content) == ["error"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_not_read(chunked: bool, client: Client) -> None:
    head = b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    part = b"x" * 1000
    with socket.create_connection((HOST, client.port), timeout=10) as wire:
        if chunked:
            wire.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
            for _ in range(21):
                wire.sendall(b"3e8\r\n" + part + b"\r\n")
        else:
            wire.sendall(head + b"content-length: 20001\r\n\r\n")
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the body is longer than 20000 bytes" in answer


def test_a_body_that_does_not_come_is_given_up(client: Client) -> None:
    with socket.create_connection((HOST, client.port), timeout=10) as wire:
        wire.sendall(HALF_A_BODY)
        began = time.monotonic()
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 5


def test_a_client_that_goes_away_harms_nobody(client: Client) -> None:
    for _ in range(20):
        with socket.create_connection((HOST, client.port)) as wire:
            wire.sendall(
                b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{"
            )
    assert client.recommend(user="u1").status == 200


ITEMS: list[tuple[object, int, str]] = [
    ({"items": []}, 422, "items: List should have at least 1 item"),
    ({"items": [{"id": "n"}]}, 422, 'item "n" needs an id and a text'),
    ({"items": [{"id": "", "text": "t"}]}, 422, "items.0.id: String should have at least 1"),
    ({"items": [{"id": "n", "text": "t", "categories": ["Wr"]}]}, 422, 'did you mean "War"?'),
    ({"items": [{"id": "n", "text": "t" * 5000}]}, 422, "items.0.text: String should have at most"),
    ({"items": [{"id": str(n), "text": "t"} for n in range(MOST_ITEMS + 1)]}, 422, "at most 32"),
    (
        {"items": [{"id": str(n), "text": "t"} for n in range(4)]},
        409,
        "no more items can be added or changed",
    ),
]


@pytest.mark.parametrize(("asked", "status", "said"), ITEMS)
def test_items_that_are_refused_leave_the_catalogue_alone(
    asked: object, status: int, said: str, client: Client
) -> None:
    before = client.health()
    answer = client.ask("POST", "/items", asked)
    assert (answer.status, list(answer.content)) == (status, ["error"])
    assert said in answer.content["error"]
    assert client.health() == before


def test_slow_answers_are_given_up_and_too_many_are_sent_away(bundle: Bundle) -> None:
    """Of those that the thread computes, as explanations; lone lists need not wait for it."""
    app = create_app(Slow(bundle), Limits(seconds=1.0, jobs=4))  # type: ignore[arg-type]
    with in_thread(app) as client, ThreadPoolExecutor(12) as pool:
        late = pool.submit(client.recommend, user="wait1.6", explain=True)
        time.sleep(0.4)
        assert client.recommend(user="u1").status == 200
        rest = list(pool.map(lambda _: client.recommend(user="u1", explain=True), range(8)))
        statuses = sorted(one.status for one in rest)
        assert late.result().status == 504
        assert set(statuses) == {503, 504}
        assert statuses.count(504) == 3  # they waited, and were dropped unanswered
        busy = next(one for one in rest if one.status == 503)
        assert busy.headers["retry-after"] == "1"
        time.sleep(0.5)
        assert client.recommend(user="u1", explain=True).status == 200


def test_a_list_that_takes_too_long_is_given_up(bundle: Bundle) -> None:
    app = create_app(Slow(bundle), Limits(seconds=0.2))  # type: ignore[arg-type]
    with in_thread(app) as client:
        late = client.recommend(user="wait0.4")
        assert (late.status, list(late.content)) == (504, ["error"])
        assert client.recommend(user="u1").status == 200


def test_lists_go_on_while_items_are_added_and_know_them_afterwards(bundle: Bundle) -> None:
    new = {"items": [{"id": "new", "text": "war"}]}
    app = create_app(Slow(bundle), allow_items=True)  # type: ignore[arg-type]
    with in_thread(app) as client, ThreadPoolExecutor(1) as pool:
        adding = pool.submit(client.ask, "POST", "/items", new)
        time.sleep(0.1)
        before = client.recommend(history=["new"], k=3)
        assert not adding.done()
        assert any("not in the catalogue" in note for note in before.content["notes"])
        assert adding.result().content["added"] == 1
        after = client.recommend(history=["new"], k=3).content
        assert not any("not in the catalogue" in note for note in after["notes"])


def test_what_has_begun_is_answered_before_the_service_ends(bundle: Bundle) -> None:
    with ThreadPoolExecutor(3) as pool:
        with in_thread(create_app(Slow(bundle))) as client:  # type: ignore[arg-type]
            asked = [
                pool.submit(client.recommend, user=user, explain=slow)
                for user, slow in (("wait0.6", True), ("wait0.1", True), ("wait0.2", False))
            ]
            time.sleep(0.2)
        assert [one.result().status for one in asked] == [200, 200, 200]


def test_lone_lists_are_scored_by_the_loop_with_one_thread(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what runs is the same for all, and no other thread of arithmetic is woken."""
    found: dict[str, tuple[str, int]] = {}
    answer = bundle.recommend_many

    def noting(requests: Sequence[Any]) -> Any:
        found[requests[0].user] = threading.current_thread().name, torch.get_num_threads()
        return answer(requests)

    app = create_app(bundle)
    monkeypatch.setattr(bundle, "recommend_many", noting)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with in_thread(app) as client:
            for user, slow in (("u1", False), ("u2", True)):
                assert client.recommend(user=user, explain=slow).status == 200
    finally:
        torch.set_num_threads(before)
    assert found["u1"][0] != "dispatcher"
    assert found["u2"] == ("dispatcher", 1)
    assert found["u1"][1] == 1


def test_an_error_of_ours_tells_no_secret(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with in_thread(create_app(Slow(bundle))) as client:  # type: ignore[arg-type]
        answer = client.recommend(user="broken")
        assert answer.status == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        number = answer.content["error"].split()[2].rstrip(";")
        assert client.recommend(user="u1").status == 200
    assert f"error {number} in POST /recommend" in caplog.text
    assert "a secret of the inside" in caplog.text


def test_an_error_of_one_request_is_not_that_of_its_neighbours(bundle: Bundle) -> None:
    app = create_app(Slow(bundle))  # type: ignore[arg-type]
    with in_thread(app) as client, ThreadPoolExecutor(8) as pool:
        first = pool.submit(client.recommend, user="wait0.3")  # the others meet while it takes
        time.sleep(0.1)
        users = ["u1", "broken", "u2", "u3"]
        found = list(pool.map(lambda user: client.recommend(user=user), users))
        assert first.result().status == 200
    assert [one.status for one in found] == [200, 500, 200, 200]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["serve", *map(str, arguments)])
    said = capsys.readouterr()
    assert (caught.value.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    return said.err


def test_no_bundle_no_port_no_file(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert str(tmp_path / "none") in refused(capsys, tmp_path / "none")
    write_bundle(tmp_path / "bundle", bundle.parts)
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(capsys, tmp_path / "bundle", "--port", port)
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in said
    said = refused(capsys, tmp_path / "bundle", "--host", "no.such.host.invalid", "--port", 0)
    assert "cannot listen at no.such.host.invalid" in said
    for host in ("x" * 300, "\udcff"):  # names that no host can have
        said = refused(capsys, tmp_path / "bundle", "--host", host, "--port", 0)
        assert "cannot listen at" in said
    nowhere = tmp_path / "no/such/folder/items.jsonl"
    assert str(nowhere) in refused(capsys, tmp_path / "bundle", "--port", 0, "--items", nowhere)


def test_without_the_extra_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    for name in [one for one in sys.modules if one.startswith("pareto_rec.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert 'pip install "pareto_rec[serve]"' in refused(capsys, tmp_path)
