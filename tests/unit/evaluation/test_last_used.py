"""Values that were used last."""

from __future__ import annotations

from pareto_rec.evaluation.last_used import LastUsed


def test_what_was_not_used_for_longest_is_made_again() -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name.upper()

    kept: LastUsed[str] = LastUsed(2)
    assert [kept.get(name, make) for name in "abacab"] == list("ABACAB")
    assert made == ["a", "b", "c", "b"]
