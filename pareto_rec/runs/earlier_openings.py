"""Earlier openings of the same test data, and whether they void a confirmation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pareto_rec.core.wording import times_in_words
from pareto_rec.runs.openings import Opening

NEARLY_SAME = 0.5  # share of the rows of either that two test sets have in common

_AIMS = {"reference": "reference", "at_least": "lower bound", "at_most": "upper bound"}


@dataclass(frozen=True)
class EarlierOpenings:
    """Openings before one opening.

    Attributes:
        same: Those of the same test data, or of most of it; first one first.
        other_split: Those of the same data held out in another way.
        void: Why the opening confirms nothing, in one sentence; empty where it may.
    """

    same: tuple[Opening, ...] = ()
    other_split: tuple[Opening, ...] = ()
    void: str = ""

    @property
    def says(self) -> str:
        """How often, when and by whom, in one sentence; empty where it was never opened."""
        if not (self.same or self.other_split):
            return ""
        if not self.same:
            return (
                f"The same data, held out in another way, had been opened "
                f"{_by_whom(self.other_split)}."
            )
        text = f"Test data had been opened {_by_whom(self.same)}"
        if self.other_split:
            text += f"; the same data, held out in another way, {_by_whom(self.other_split)}"
        return f"{text}."

    def to_json(self) -> dict[str, Any]:
        """Return what confirm.json says of them."""
        return {"times": len(self.same), "other_split": len(self.other_split), "says": self.says}


def earlier_openings(opening: Opening, openings: Iterable[Opening]) -> EarlierOpenings:
    """Find what was opened before, and what was changed since.

    What was declared first, before test data had been seen, is what holds: a confirmation is void
    where its objectives, their references or bounds, or how rows are held out are not those of the
    first opening for the same question. Questions about the same data are the same where the
    experiment has the same name, or the objectives are the same. To take all data after a sample
    of it voids nothing.

    Args:
        opening: The opening.
        openings: All that are known; those that came later do not count.
    """
    before = sorted(
        (other for other in openings if other.when < opening.when), key=lambda other: other.when
    )
    same = tuple(other for other in before if _is_same_test(opening, other))
    rest = tuple(
        other
        for other in before
        if other.data == opening.data and not _is_same_test(opening, other)
    )
    return EarlierOpenings(same, rest, _void(opening, before))


def overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """Estimate the share of rows that two sets have in common, of all rows of either.

    The bottom-k estimate of the Jaccard index (Broder 1997, "On the resemblance and containment of
    documents"): how many of the smallest keys of both together are in both.

    Args:
        first: Sketch of some rows.
        second: Sketch of other rows.
    """
    both = sorted({*first, *second})[: max(len(first), len(second))]
    shared = {*first} & {*second}
    return sum(key in shared for key in both) / len(both) if both else 0.0


def _is_same_test(opening: Opening, other: Opening) -> bool:
    return opening.test == other.test or overlap(opening.sketch, other.sketch) >= NEARLY_SAME


def _void(opening: Opening, before: Sequence[Opening]) -> str:
    """Return what was changed after the first opening for the same question; "" for nothing."""
    first = next((other for other in before if _is_same_question(opening, other)), None)
    if first is None:
        return ""
    changes = [
        *_changed_objectives(opening, first),
        *_changed_aims(opening, first),
        *_changed_split(opening, first),
    ]
    what = "this test data" if _is_same_test(opening, first) else "this data"
    after = f"Void: after {first.experiment} had opened {what} on {first.at[:10]}, "
    return f"{after}{', '.join(changes)}." if changes else ""


def _is_same_question(opening: Opening, other: Opening) -> bool:
    is_about = other.data == opening.data or _is_same_test(opening, other)
    names = opening.experiment == other.experiment or set(opening.objectives) == set(
        other.objectives
    )
    return is_about and names


def _changed_objectives(opening: Opening, first: Opening) -> Iterator[str]:
    if set(opening.objectives) != set(first.objectives):
        yield (
            f"the objectives were changed from {' and '.join(first.objectives)} to "
            f"{' and '.join(opening.objectives)}"
        )


def _changed_aims(opening: Opening, first: Opening) -> Iterator[str]:
    for name, aim in opening.objectives.items():
        for key, what in _AIMS.items():
            before, now = first.objectives.get(name, aim).get(key), aim.get(key)
            if now != before:
                yield (f"the {what} of {name} was changed from {_number(before)} to {_number(now)}")


def _changed_split(opening: Opening, first: Opening) -> Iterator[str]:
    """Yield how rows are held out now and were before; a change to all data is none."""
    own, earlier = dict(opening.split), dict(first.split)
    sample, other = own.pop("sample", None), earlier.pop("sample", None)
    changed = [
        f"{key} = {own[key]} instead of {earlier[key]}"
        for key in own
        if key in earlier and own[key] != earlier[key]  # a newer version may have more keys
    ]
    if sample and sample != other:
        changed.append(f"a sample of {_sample(sample)} instead of {_sample(other)}")
    if changed:
        yield f"rows were held out in another way ({', '.join(changed)})"
    elif not sample and not other and opening.data == first.data and opening.test != first.test:
        yield "other rows were held out by the same settings"


def _sample(sample: Any) -> str:
    if not sample:
        return "all"
    return " and ".join(f"{number:,} {what}" for what, number in sample.items() if number)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _by_whom(openings: Sequence[Opening]) -> str:
    """Return how often, by which experiments, and when first and last."""
    counts: dict[str, int] = {}
    for opening in openings:
        counts[opening.experiment] = counts.get(opening.experiment, 0) + 1
    several = len(counts) > 1
    names = [f"{name} ({number})" if several else name for name, number in counts.items()]
    first, last = openings[0].at[:10], openings[-1].at[:10]
    days = f"on {first}" if first == last else f"from {first} to {last}"
    return f"{times_in_words(len(openings))} before, by {', '.join(names)}, {days}"
