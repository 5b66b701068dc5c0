"""Sentences that a run and its page share."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_RIGHT_TO_LEFT = {"R", "AL", "AN", "RLE", "RLO", "RLI"}


def isolated(text: str) -> str:
    """Isolate a user's text, so that it can stand in a line with other words.

    A text that runs from right to left would take the numbers beside it along: isolates (U+2068
    and U+2069, the Unicode Bidirectional Algorithm, UAX 9) keep them apart. Other texts stay as
    they are.
    """
    if any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text):
        return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"
    return text


def repeats_in_words(account: Mapping[str, int], stage: str) -> str:
    """Say what was left out of a truth (see `Stage.truth_account`); "" for nothing."""
    if not account["repeats"]:
        return ""
    words = (
        f"{account['repeats']:,} of {account['held_out']:,} {stage} rows are of items that their "
        "users had met before; lists repeat no item, so these rows count neither for nor against"
    )
    if account["users_left_out"]:
        words += (
            f", and {account['users_left_out']:,} of {account['users']:,} users are not measured"
        )
    return words


def times_in_words(number: int) -> str:
    """Return how often something happened."""
    return "once" if number == 1 else f"{number:,} times"


def thousand_fold(volume: float) -> str:
    """Format a hypervolume times 1000: three decimals, or four digits where it is large."""
    value = 1000 * volume
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def kept_in_words(share: float) -> str:
    """Return how much of a gain is left: a share below 0 is nothing, one above 1 is all."""
    if share <= 0:
        return "nothing"
    return f"{share:.0%}" if share <= 1 else "all"


def lacking_in_words(
    name: str, entry: Mapping[str, Any], counts: Sequence[tuple[int, int]] = ()
) -> str:
    """Return one line about an objective.

    Args:
        name: The objective.
        entry: What run.json says of it under `lacking`.
        counts: What it says under `described`, per point of the front.
    """
    lack = "lacks a" if entry["items"] == 1 else "lack a"
    lack += {"categories": " category", "text": " text", "price": " price"}[entry["what"]]
    share = entry["items"] / entry["of"]
    text = f"{name}: {entry['items']:,} of {entry['of']:,} items ({share:.1%}) {lack}"
    text += ", which never makes a list better"
    if counts:
        what = "pairs of listed items" if entry["pairs"] else "listed items"
        measured, total = (sum(column) for column in zip(*counts, strict=True))
        least = min((n / of for n, of in counts if of), default=0.0)
        text += f"; {measured:,} of {total:,} {what} in the front's lists were measured, at the "
        text += f"least {least:.1%} of a point's"
    return text
