"""Scorers of known people that are kept: the same answers, and no more memory than allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import SERVINGS, tiny_parts

from pareto_rec.bundle import Bundle, BundleData, NewItem, write_bundle
from pareto_rec.bundle.scorer_cache import ScorerCache, bytes_each
from pareto_rec.bundle.scoring import known_people

pytestmark = pytest.mark.usefixtures("single_thread")

ROOM = 10_000_000


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> BundleData:
    return tiny_parts(tmp_path_factory.mktemp("bert"))


def counted(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many people each call of the engine scores from now on."""
    calls: list[int] = []
    before = bundle.engine.scorers

    def scorers(people, *args, **options):  # type: ignore[no-untyped-def]
        calls.append(len(people))
        return before(people, *args, **options)

    monkeypatch.setattr(bundle.engine, "scorers", scorers)
    return calls


@pytest.mark.parametrize("point", SERVINGS)
def test_answers_are_the_same_to_the_last_bit(parts: BundleData, point: str) -> None:
    plain, kept = Bundle.of(parts), Bundle(parts, room=ROOM)
    for _ in range(2):
        for user in parts.users.ids:
            for k in (3, 8):
                given = {"k": k, "point": point}
                assert kept.recommend(user, **given) == plain.recommend(user, **given)  # type: ignore[arg-type]
    user = parts.users.ids[3]
    explained = kept.recommend(user, explain=True, point=point)
    assert explained == plain.recommend(user, explain=True, point=point)


def test_people_are_scored_once(parts: BundleData, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle(parts, room=ROOM)
    calls = counted(bundle, monkeypatch)
    users = [user for user, one in zip(parts.users.ids, known_people(parts), strict=True)
             if len(one.items)]  # fmt: skip
    assert bundle.prepared.fill(bundle.about.default, 60.0) == len(users) == len(calls)
    for user in users:
        bundle.recommend(user, k=4)
    assert len(calls) == len(users)
    before = len(calls)
    bundle.recommend(users[0], [parts.items.ids[5]])  # more than the history that is known
    bundle.recommend(history=[parts.items.ids[5]])
    assert len(calls) == before + 2


def test_nothing_is_kept_without_room(parts: BundleData, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.of(parts)
    calls = counted(bundle, monkeypatch)
    assert bundle.prepared.fill(bundle.about.default, 60.0) == 0
    for _ in range(3):
        bundle.recommend(parts.users.ids[3])
    assert len(calls) == 3


def test_the_longest_histories_are_prepared_and_the_oldest_forgotten(
    parts: BundleData, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle(parts, room=0)
    people = known_people(parts)
    bundle.prepared = ScorerCache(bundle.engine, people, 2 * bytes_each(bundle.engine))
    calls = counted(bundle, monkeypatch)
    assert bundle.prepared.fill(bundle.about.default, 60.0) == 2
    longest = sorted(range(len(people)), key=lambda place: -len(people[place].items))
    ids = [parts.users.ids[place] for place in longest[:3]]
    for user, made in ((ids[0], 2), (ids[1], 2), (ids[2], 3), (ids[1], 3), (ids[0], 4)):
        bundle.recommend(user)
        assert len(calls) == made


def test_preparing_ends_in_time(parts: BundleData) -> None:
    bundle = Bundle(parts, room=ROOM)
    assert bundle.prepared.fill(bundle.about.default, 0.0) == 0


def test_what_an_added_item_changes_is_scored_anew(parts: BundleData, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", parts)
    bundle = Bundle.load(tmp_path / "bundle", room=ROOM)
    user = parts.users.ids[3]
    before = bundle.recommend(user, k=5)
    new = [NewItem("new", text="love of war, the film", categories=("b",))]
    changed = bundle.with_items(new)
    assert changed.prepared.capacity > 0
    assert changed.recommend(user, k=25) == Bundle.of(parts).with_items(new).recommend(user, k=25)
    assert bundle.recommend(user, k=5) == before
