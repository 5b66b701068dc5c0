"""The service as it is run: real processes, real HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from learnt_bundle import ITEMS, USERS, learnt_bundle
from running_service import Client, Service, served

from pareto_rec.bundle import Bundle, NewItem
from pareto_rec.core.threads import one_thread

CASES = int(os.environ.get("PARETO_REC_SCHEMA_CASES", "150"))  # 2,000 by hand

SCHEMA_CHECKS = """
[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = [400, 413, 415, 422]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learnt_bundle(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Iterator[Bundle]:
    with one_thread():
        yield Bundle.load(folder)


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with served(folder, "--allow-items") as running:
        yield running


@pytest.fixture
def client(service: Service) -> Client:
    return service.client


def ids(answer: object) -> list[str]:
    assert isinstance(answer, dict), answer
    return [item["id"] for item in answer["items"]]


def test_answers_are_those_of_the_bundle(client: Client, bundle: Bundle) -> None:
    for user in bundle.parts.users.ids[::7]:
        answer = client.recommend(user=user, k=8)
        assert answer.status == 200
        expected = bundle.recommend(user, k=8)
        assert ids(answer.content) == [item.id for item in expected.items]
        assert answer.content["point"] == bundle.about.default
        assert answer.content["served_from"] == "user"
        found = [item["score"] for item in answer.content["items"]]
        assert found == pytest.approx([item.score for item in expected.items], abs=1e-4)


def test_point_and_preference_per_request(client: Client, bundle: Bundle) -> None:
    for point in bundle.points:
        answer = client.recommend(user="u3", point=point).content
        assert answer["point"] == point
        assert ids(answer) == [item.id for item in bundle.recommend("u3", point=point).items]
    for name in ("ndcg@5", "ild@5"):
        values = {point.objectives[name]: point.id for point in bundle.about.points}
        best = values[max(values)]
        assert client.recommend(user="u3", prefer={name: 1}).content["point"] == best


def test_histories_unknown_people_and_unknown_items(client: Client) -> None:
    new = {"id": "x1", "text": "the film of love", "title": "Love"}
    told = client.recommend(history=["i1", new, "i4", "nowhere"], k=3).content
    assert told["served_from"] == "history"
    assert len(told["items"]) == 3
    assert any("nowhere" in note for note in told["notes"])
    assert client.recommend(history=[], k=3).content["served_from"] == "popularity"
    assert any("nobody" in note for note in client.recommend(user="nobody").content["notes"])
    assert "explanation" in client.recommend(user="u1", explain=True).content["items"][0]
    assert "explanation" not in client.recommend(user="u1").content["items"][0]


def test_a_batch_answers_in_its_order(client: Client, bundle: Bundle) -> None:
    asked = [{"user": "u5", "k": 2}, {"history": ["i9"], "k": 4}, {"user": "u1", "k": 2}]
    answers = client.ask("POST", "/recommend", asked).content
    assert [len(one["items"]) for one in answers] == [2, 4, 2]
    assert ids(answers[2]) == [item.id for item in bundle.recommend("u1", k=2).items]
    wrong = client.ask("POST", "/recommend", [*asked, {"user": "u1", "point": "none"}])
    assert (wrong.status, list(wrong.content)) == (422, ["error"])


def test_many_at_once_get_their_own_answers(client: Client, bundle: Bundle) -> None:
    """Requests that are scored together, a wrong one among them, are not mixed up."""
    users = [*bundle.parts.users.ids, "nobody"] * 3
    with ThreadPoolExecutor(16) as pool:
        points = ["no such point" if user == "nobody" else None for user in users]
        found = list(pool.map(lambda u, p: client.recommend(user=u, point=p), users, points))
    for user, answer in zip(users, found, strict=True):
        if user == "nobody":
            assert answer.status == 422
        else:
            assert ids(answer.content) == [item.id for item in bundle.recommend(user).items]


def test_items_are_added_and_changed(folder: Path, bundle: Bundle) -> None:
    """With two processes, each of which knows at once what the other was told, and a restart."""
    kept = folder.parent / "added.jsonl"
    new = {"id": "x", "text": "the film of love", "title": "Love", "categories": ["War"]}
    with served(folder, "--workers", "2", "--allow-items", "--items", kept) as running:
        client = running.client
        assert client.health()["items"] == ITEMS
        added = client.ask("POST", "/items", {"items": [new]}).content
        assert added == {"added": 1, "changed": 0, "items": ITEMS + 1}
        expected = bundle.with_items([NewItem("x", new["text"], "Love", ("War",))])
        lists = [item.id for item in expected.recommend(history=["x"], k=5).items]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: client.recommend(history=["x"], k=5), range(40)))
        assert all(ids(one.content) == lists for one in found)
        [note] = expected.recommend(history=["x"], k=5).notes
        assert "no item of the history is known to it, popularity stands in" in note
        assert all(one.content["notes"] == [note] for one in found)
        again = {"items": [{"id": "x", "title": "Hate"}, {"id": "i1", "title": "New"}]}
        changed = client.ask("POST", "/items", again).content
        assert changed == {"added": 0, "changed": 2, "items": ITEMS + 1}
        wrong = client.ask("POST", "/items", {"items": [{"id": "y", "title": "z",
                                                         "categories": ["Wat"]}]})  # fmt: skip
        assert wrong.status == 422
        assert 'did you mean "War"?' in wrong.content["error"]
        assert running.stop() == (0, "")
    assert len(kept.read_text().splitlines()) == 2
    with served(folder, "--items", kept) as running:
        health = running.client.health()
        assert (health["items"], health["added"]) == (ITEMS + 1, 1)
        assert running.stop(signal.SIGINT) == (0, "")


def test_front_health_and_pages(client: Client, bundle: Bundle) -> None:
    front = client.ask("GET", "/front").content
    assert [one["id"] for one in front["points"]] == bundle.points
    assert front["default"] == bundle.about.default
    assert front["points"][0]["objectives"] == bundle.about.points[0].objectives
    health = client.health()
    assert health["status"] == "ok"
    assert (health["users"], health["items"]) == (USERS, ITEMS)
    assert health["version"] == bundle.version == front["version"]
    api = client.ask("GET", "/openapi.json").content
    assert set(api["paths"]) == {"/recommend", "/items", "/front", "/health"}
    page = client.ask("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"(?:src|href)\s*=\s*.?https?:", page.text)  # nothing from elsewhere


def test_random_requests_find_no_error(client: Client, tmp_path: Path) -> None:
    """Schemathesis on the service's own description: no answer is a 5xx or off the description.

    That a request of the right form is always accepted is not asked for: a form cannot say that a
    point must exist, or that an item needs a text or a title.
    """
    (tmp_path / "schemathesis.toml").write_text(SCHEMA_CHECKS)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("run", f"http://127.0.0.1:{client.port}/openapi.json"),
            *("--max-examples", str(CASES // 2), "--seed", "1", "--no-color"),
            "--continue-on-failure",
            *("--phases", "examples,fuzzing" if CASES < 500 else "examples,coverage,fuzzing"),
        ],
        capture_output=True,
        text=True,
        timeout=3000,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None, done.stdout
    assert int(generated[1]) >= CASES * 0.9
    assert client.health()["status"] == "ok"
