"""Clients that keep a service waiting, that are not who they seem, or that ask for very much."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from learnt_bundle import learnt_parts
from running_service import HOST, Answered, Client, in_thread

from pareto_rec.bundle import Bundle
from pareto_rec.bundle.interruption import interruption_point
from pareto_rec.bundle.texts import Texts
from pareto_rec.core.errors import BadRequestError
from pareto_rec.core.threads import one_thread
from pareto_rec.serve import middleware
from pareto_rec.serve.access import Access, access
from pareto_rec.serve.app import create_app
from pareto_rec.serve.limits import MOST_EXPLAINED as MOST
from pareto_rec.serve.limits import MOST_READ, Limits

CLIENTS = int(os.environ.get("PARETO_REC_SLOW_CLIENTS", "300"))  # 1,100 by hand
HEAD = b"POST /recommend HTTP/1.1\r\nhost: localhost\r\n"
QUIET = 0.4  # seconds after which no more of an answer is expected
LIMITS = Limits(drain_seconds=0.0, header_seconds=1.0, seconds=2.0, write_seconds=1.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with one_thread():
        yield Bundle.of(learnt_parts(tmp_path_factory.mktemp("parts")))


@contextmanager
def service(bundle: Bundle, limits: Limits = LIMITS, **options: Any) -> Iterator[Client]:
    with in_thread(create_app(bundle, limits, **options), limits) as client:
        yield client


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Iterator[Client]:
    with service(bundle) as one:
        yield one


def wire(client: Client, sent: bytes = b"") -> socket.socket:
    connected = socket.create_connection((HOST, client.port), timeout=20)
    connected.sendall(sent)
    return connected


def rest(connected: socket.socket) -> bytes:
    """What the service says until it closes the connection, or is silent for too long."""
    parts = []
    try:
        while part := connected.recv(65536):
            parts.append(part)
    except (ConnectionResetError, TimeoutError):
        pass
    return b"".join(parts)


SLOW: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda _: b"",
    "headers": lambda n: HEAD + b"x: %d" % n,
    "bodies": lambda _: HEAD + b"content-type: application/json\r\ncontent-length: 9\r\n\r\n{",
    "mixed": lambda n: SLOW[("nothing", "headers", "bodies")[n % 3]](n),
}


def test_the_connection_that_has_kept_waiting_for_longest_gives_way(bundle: Bundle) -> None:
    """Whoever has just connected is not ended for a half-sent request that was read in between."""
    limits = Limits(drain_seconds=0.0, address_connections=2, header_seconds=60, seconds=60)
    with service(bundle, limits) as client, closing(wire(client)) as first:
        assert client.health()["status"] == "ok"  # so the first was accepted before the other
        with closing(wire(client, SLOW["headers"](1))) as second:
            time.sleep(0.2)  # it is read
            first.sendall(SLOW["headers"](0))
            time.sleep(0.2)
            assert client.recommend(user="u1").status == 200
            assert b"others needed the connection" in rest(first)
            second.settimeout(0.2)
            assert rest(second) == b""


@pytest.mark.parametrize("kind", SLOW)
def test_half_sent_requests_lock_nobody_out(kind: str, bundle: Bundle) -> None:
    """More than all connections, from the address that everybody else has, too."""
    limits = Limits(
        drain_seconds=0.0, connections=CLIENTS // 2, address_connections=CLIENTS // 3,
        header_seconds=60, seconds=60,
    )  # fmt: skip
    with service(bundle, limits) as client, ExitStack() as held:
        for number in range(CLIENTS):
            held.enter_context(closing(wire(client, SLOW[kind](number))))
        for number in range(20):
            assert client.recommend(user="u1").status == 200
            held.enter_context(closing(wire(client, SLOW[kind](number))))


def test_connections_that_are_served_do_not_give_way(bundle: Bundle) -> None:
    """The oldest that waits for its client does; kept-alive ones last; else the newcomer."""
    limits = Limits(drain_seconds=0.0, address_connections=4, header_seconds=60, seconds=60)
    free = threading.Event()
    with service(Held(bundle, free), limits) as client, ThreadPoolExecutor(4) as pool:
        try:
            asked = [pool.submit(client.recommend, user="held", explain=True) for _ in range(2)]
            assert within(20, lambda: client.health()["jobs"] == 2)
            kept = http.client.HTTPConnection(HOST, client.port, timeout=20)
            kept.request("GET", "/front")
            assert kept.getresponse().read()
            with closing(kept), closing(wire(client)) as half:
                assert client.health()["jobs"] == 2  # in the place of `half`, not of `kept`
                assert b"408" in rest(half)
                kept.request("GET", "/front")
                assert kept.getresponse().status == 200
            asked += [pool.submit(until_taken, client, "held") for _ in range(2)]
            assert within(20, lambda: refused(client))
        finally:
            free.set()
        assert [one.result().status for one in asked] == [200] * 4


def test_requests_that_were_sent_do_not_give_way_unread(bundle: Bundle) -> None:
    """While the loop computes, what has been sent is not read; its senders keep no one waiting."""
    limits = Limits(drain_seconds=0.0, address_connections=4, header_seconds=60, seconds=60)
    free = threading.Event()
    ask = b"GET /front HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    with service(Held(bundle, free), limits) as client, ThreadPoolExecutor(1) as pool:
        try:
            first = pool.submit(client.recommend, user="held")  # a lone list: the loop's
            time.sleep(0.5)
            sent = [wire(client, ask) for _ in range(3)]
            last = wire(client, ask)
            time.sleep(0.2)
        finally:
            free.set()
        answers = [rest(connected)[9:12] for connected in (*sent, last)]
        for connected in (*sent, last):
            connected.close()
        assert first.result().status == 200
    assert answers[:3] == [b"200"] * 3
    assert answers[3] in (b"200", b"503")


def refused(client: Client) -> bool:
    """Whether a new connection is."""
    with closing(wire(client)) as connected:
        connected.settimeout(0.5)
        return b"too many open connections" in rest(connected)


def until_taken(client: Client, user: str) -> Answered:
    """The answer to the first of like requests whose connection does not have to give way."""
    while True:
        with suppress(OSError):
            answer = client.recommend(user=user, explain=True)
            if answer.status not in (408, 503):
                return answer
        time.sleep(0.02)


def within(seconds: float, true: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not (done := true()) and time.monotonic() < until:
        time.sleep(0.01)
    return done


class Held:
    """A bundle that answers the user "held" when it may."""

    def __init__(self, bundle: Bundle, free: threading.Event) -> None:
        self.real, self.free = bundle, free

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def recommend_many(self, requests: Any) -> Any:
        while any(one.user == "held" for one in requests) and not self.free.wait(0.02):
            interruption_point()
        return self.real.recommend_many(requests)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (HEAD + b"x: y", b"408"),
        (b"\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (HEAD + b"\r\n", b"415"),
        (b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n" + HEAD, b"200"),
    ],
)
def test_headers_have_to_come_in_time(sent: bytes, status: bytes, client: Client) -> None:
    """Also those of the second request of a connection, byte by byte."""
    began = time.monotonic()
    with closing(wire(client, sent)) as connected:
        connected.settimeout(0.1)
        answer, closed = b"", False
        while not closed and time.monotonic() - began < 15:
            try:
                part = connected.recv(65536)
                answer, closed = answer + part, not part
                if sent.endswith(HEAD) and not closed:
                    connected.sendall(b"x")
            except TimeoutError:
                if sent:
                    connected.sendall(b"x")
            except OSError:
                closed = True
    assert closed
    assert time.monotonic() - began < 10
    assert answer[9:12] == status


def test_headers_without_end_are_refused(client: Client) -> None:
    with closing(wire(client, HEAD)) as connected:
        line = b"x-%d: " % 1 + b"y" * 1000 + b"\r\n"
        try:
            for _ in range(2000):
                connected.sendall(line)
        except OSError:
            pass
        answer = rest(connected)
    assert not answer or answer.startswith(b"HTTP/1.1 431 ")
    assert client.health()["status"] == "ok"


def test_trailers_are_not_collected(client: Client) -> None:
    head = HEAD + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b'd\r\n{"user":"u1"}\r\n0\r\n'
    with closing(wire(client, head + body + b"host: evil\r\n" * 50 + b"\r\n")) as connected:
        assert connected.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_read_is_cut_off(bundle: Bundle) -> None:
    ask = b"GET /front HTTP/1.1\r\nhost: localhost\r\n\r\n"
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with service(bundle) as client, closing(connected):
        connected.connect((HOST, client.port))
        connected.settimeout(0.2)
        cut, until = False, time.monotonic() + 20
        while not cut and time.monotonic() < until:
            try:
                connected.sendall(ask * 100)
            except TimeoutError:
                pass
            except OSError:
                cut = True
    assert cut


def test_what_is_not_http_gets_a_line_of_json(client: Client) -> None:
    with closing(wire(client, b"\x16\x03\x01 hello\r\n\r\n")) as connected:
        head, _, body = rest(connected).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body) == {"error": "invalid http request received"}


HOSTS = [
    ("localhost", 200), ("LOCALHOST:8000", 200), ("127.0.0.1", 200), ("127.0.0.1:1", 200),
    ("[::1]", 200), ("[::1]:80", 200), ("localhost.", 200), ("recommend.example.com:443", 200),
    ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil.example:80", 421),
    ("10.0.0.1", 421), ("0.0.0.0", 421), ("", 400), ("a b", 400), ("localhost:x", 400),
    ("user@localhost", 400), ("localhost/", 400),
]  # fmt: skip


def test_other_names_are_refused(bundle: Bundle) -> None:
    """As after DNS rebinding: the address is this one, the name is the page's."""
    rules = access("127.0.0.1", ["recommend.example.com"])
    with service(bundle, rules=rules, allow_items=True) as client:
        for host, status in HOSTS:
            answer = client.ask("GET", "/front", headers={"host": host})
            assert answer.status == status, host
            assert status == 200 or list(answer.content) == ["error"]
        evil = {"host": "evil.example:8000"}
        for method, path, body in (
            ("GET", "/health", None), ("GET", "/docs", None), ("GET", "/openapi.json", None),
            ("POST", "/recommend", {"user": "u1"}),
            ("POST", "/items", {"items": [{"id": "i1", "title": "Renamed"}]}),
        ):  # fmt: skip
            answer = client.ask(method, path, body, headers=evil)
            assert (answer.status, list(answer.content)) == (421, ["error"])
        assert "--allow" in client.ask("GET", "/front", headers=evil).content["error"]
        assert client.health()["changed"] == 0
        for two in (b"host: localhost\r\nhost: evil.example\r\n", b""):
            with closing(wire(client, b"GET /front HTTP/1.1\r\n" + two + b"\r\n")) as connected:
                assert rest(connected).startswith(b"HTTP/1.1 400 ")


def test_every_name_only_where_asked_for(bundle: Bundle) -> None:
    assert access("0.0.0.0").hosts >= {"0.0.0.0", "localhost"}
    assert access("::1").hosts == access("127.0.0.1").hosts
    assert "box.example" in access("Box.example").hosts
    with service(bundle, rules=access("0.0.0.0", ["*"])) as client:
        assert client.ask("GET", "/front", headers={"host": "any.example"}).status == 200
    for name in ("http://a.example", "a.example:80", "a/b", ""):
        with pytest.raises(BadRequestError, match="is not the name of a host"):
            access("127.0.0.1", [name])


def test_the_token(bundle: Bundle, tmp_path: Path) -> None:
    token = "a-token-of-some-length"
    (tmp_path / "token").write_text(f"{token}\n")
    rules = access("127.0.0.1", (), tmp_path / "token")
    assert token not in repr(rules)
    with service(bundle, rules=rules) as client:
        right = {"authorization": f"Bearer {token}"}
        assert client.ask("POST", "/recommend", {"user": "u1"}, headers=right).status == 200
        assert client.ask("GET", "/health", headers=right).content["items"] == 60
        assert client.ask("GET", "/health").content == {"status": "ok"}
        for given in ("", token, f"Basic {token}", f"Bearer {token}x", "Bearer ", "Bearer \xff"):
            sent = {"authorization": given} if given else {}
            answer = client.ask("POST", "/recommend", {"user": "u1"}, headers=sent)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert list(answer.content) == ["error"]
        for path in ("/front", "/openapi.json", "/docs", "/nothing", "/health/"):
            assert client.ask("GET", path).status == 401
    for content in (b"", b"short", b"two words of a token", b"\xff" * 20, b"x" * 5000):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(BadRequestError, match="must hold one token"):
            access("127.0.0.1", (), tmp_path / "token")
    with pytest.raises(BadRequestError, match="cannot be read: No such file"):
        access("127.0.0.1", (), tmp_path / "none")


def test_items_are_taken_only_where_they_are_asked_for(client: Client) -> None:
    answer = client.ask("POST", "/items", {"items": [{"id": "i1", "title": "Renamed"}]})
    assert answer.status == 403
    assert "--allow-items" in answer.content["error"]
    assert "/items" not in client.ask("GET", "/openapi.json").content["paths"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "", "a"])
def test_a_body_that_is_not_said_to_be_json(kind: str | None, client: Client) -> None:
    """What a page may send to any address without asking; the answer says what is missing."""
    answer = client.ask("POST", "/recommend", {"user": "u1"}, kind=kind)
    assert answer.status == 415
    assert answer.content == {"error": "send JSON, with the header Content-Type: application/json"}


def test_ids_that_are_whole_numbers(client: Client) -> None:
    number = client.recommend(user=7, history=[1, {"id": 2, "text": "war"}]).content
    text = client.recommend(user="7", history=["1", {"id": "2", "text": "war"}]).content
    assert number == text
    assert 'user "7" is not known' in number["notes"]


MUCH: list[tuple[object, str]] = [
    ([{"history": [{"id": "n", "text": "w"}] * 300}] * 30, f"at most {MOST_READ} are taken"),
    ({"history": [{"id": "n", "text": "w"}] * (MOST_READ + 1)}, f"at most {MOST_READ} are taken"),
    ([{"history": ["i1"] * 500}] * 17, "8500 items of histories in one request; at most 8000"),
    ([{"user": "u1", "k": 60}] * 54, "3240 items of lists in one request; at most 3200"),
    ([{"user": "u1", "explain": True}] * 17, f"17 explained lists in one request; at most {MOST}"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "said"), MUCH)
def test_a_batch_is_limited_as_a_whole(asked: object, said: str, client: Client) -> None:
    answer = client.ask("POST", "/recommend", asked)
    assert answer.status == 422
    assert said in answer.content["error"]


def test_a_large_body_that_took_long_to_read_is_told_why(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest that it has to leave to small requests is no waiting for other large bodies."""
    look = middleware._too_much
    monkeypatch.setattr(middleware, "_too_much", lambda body: (time.sleep(0.5), look(body))[1])
    with service(bundle, Limits(drain_seconds=0.0, seconds=1.0)) as client:
        assert client.ask("POST", "/recommend", MUCH[0][0]).status == 422


def test_quick_requests_while_batches_of_texts_take_all_they_may(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is full of slow texts; whoever asks for a list does not notice."""
    monkeypatch.setattr(Texts, "features", slowly(Texts.features))
    texts = {"history": [{"id": "n", "text": "w"}] * MOST_READ}
    limits = Limits(drain_seconds=0.0, seconds=1.0, jobs=8)
    with service(bundle, limits) as client, ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(client.ask, "POST", "/recommend", texts) for _ in range(16)]
        time.sleep(0.3)
        assert client.health()["status"] == "busy"
        assert client.ask("GET", "/health").status == 200
        times = []
        for _ in range(30):
            began = time.monotonic()
            assert client.recommend(user="u1").status == 200
            times.append(time.monotonic() - began)
        assert sorted(times)[15] < 0.5
        found = sorted(one.result().status for one in asked)
        assert found == [503] * 8 + [504] * 8
        assert within(20, lambda: client.health()["status"] == "ok")
        assert client.health()["jobs"] == 0


def slowly(features: Callable[..., Any]) -> Callable[..., Any]:
    def slow(texts: Texts, new: list[str]) -> Any:
        for _ in new:
            interruption_point()
            time.sleep(0.1)
        return features(texts, new)

    return slow


def test_work_for_clients_that_are_gone_is_given_up(bundle: Bundle) -> None:
    free = threading.Event()
    limits = Limits(drain_seconds=0.0, seconds=60, stop_seconds=1)
    body = json.dumps({"user": "held", "explain": True}).encode()
    head = HEAD + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    with service(Held(bundle, free), limits) as client:
        with ExitStack() as held:
            for _ in range(10):
                held.enter_context(closing(wire(client, head + body)))
            assert within(20, lambda: client.health()["jobs"] == 10)
        assert within(20, lambda: client.health()["jobs"] == 0)
        assert client.recommend(user="u1", explain=True).status == 200


def test_random_bytes_find_no_error(client: Client) -> None:
    """Requests that were cut, doubled, mixed up and lengthened, over one connection each."""
    count = int(os.environ.get("PARETO_REC_RAW_CASES", "150"))  # 1,000 by hand
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda n: raw_case(random.Random(n), client), range(count)))
    print(count, "raw cases:", dict(sorted(Counter(statuses).items())))
    assert not [one for one in statuses if one >= 500]
    assert len([one for one in statuses if one >= 200]) > count / 2
    assert client.recommend(user="u1").status == 200


BODIES = [b'{"user":"u1"}', b"[]", b"{", b'[{"user":"u1"},{"k":3}]', b"", b"\xff\x00", b"1e999"]
PARTS = [
    b"GET /health HTTP/1.1\r\n", b"POST /recommend HTTP/1.1\r\n", b"POST /items HTTP/1.1\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n",
    b"CONNECT localhost:1 HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n", b"GET /%00%ff?a=\xe4 HTTP/1.1\r\n",
    b"GET " + b"/a" * 4000 + b" HTTP/1.1\r\n", b"HEAD /front HTTP/1.1\r\n",
    b"host: localhost\r\n", b"Host: localhost:8000\r\n", b"host:\r\n", b"host: \xff\r\n",
    b"content-type: application/json\r\n", b"content-type: a/b;c=\xe4\r\n",
    b"content-length: 13\r\n", b"content-length: -1\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip\r\n", b"expect: 100-continue\r\n",
    b"connection: close\r\n", b"connection: upgrade\r\nupgrade: websocket\r\n",
    b"connection: upgrade\r\nupgrade: h2c\r\n", b"authorization: Bearer \xff\r\n",
    b" folded: line\r\n", b"x: " + b"y" * 9000 + b"\r\n", b"\r\n", b"\r\n\r\n", b"\0", b"\n",
    b"d\r\n", b"0\r\n\r\n", b"fffffffffffffffff\r\n", *BODIES,
]  # fmt: skip


def raw_case(rng: random.Random, client: Client) -> int:
    """The status of the answer to a made-up request; 0 where there is none."""
    if rng.random() < 0.5:
        sent = b"".join(rng.choices(PARTS, k=rng.randint(1, 12)))
    else:
        body = rng.choice(BODIES)
        length = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        sent = HEAD + length + body
        place, noise = rng.randrange(len(sent)), rng.randbytes(rng.randint(1, 8))
        begin, end = sent[:place], sent[place:]
        sent = rng.choice([begin, begin + noise + end, begin + noise + end[1:], sent * 3])
    with closing(wire(client)) as connected:
        try:
            connected.sendall(sent)
            connected.settimeout(QUIET)
            answer = rest(connected)
        except OSError:
            answer = b""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_access_of_no_token_is_that_of_everyone() -> None:
    assert Access().token is None
