"""Summary of a data set, for a look before it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from pareto_rec.core.wording import repeats_in_words
from pareto_rec.data.schema import Dataset, IntArray, Split

Summary = dict[str, object]
_SHOWN = 8
_SHARES = {"density", "positive_share", "late_train_share"}  # shown in per cent


def describe(dataset: Dataset, split: Split | None = None) -> Summary:
    """Summarise a data set, ready for JSON.

    Args:
        dataset: What to look at.
        split: Its split, for the sizes of the parts and their leaks; None to leave that out.
    """
    rows, n_users, n_items = dataset.interactions, len(dataset.users), len(dataset.items)
    per_user = np.bincount(rows.user, minlength=n_users)
    per_item = np.bincount(rows.item, minlength=n_items)
    positive = {
        name: float((rows.signals[name] > 0).sum() / max(len(rows), 1))
        for name in sorted(rows.signals)
    }
    with_category = dataset.items.categories.any(axis=1)
    summary: Summary = {
        "name": dataset.name,
        "content_hash": dataset.content_hash,
        "users": n_users,
        "items": n_items,
        "rows": len(rows),
        "density": len(rows) / max(n_users * n_items, 1),
        "time": {"first": _day(rows.time.min()), "last": _day(rows.time.max())}
        if len(rows) and dataset.timed
        else {},
        "rows_per_user": _spread(per_user),
        "rows_per_item": _spread(per_item),
        "items_without_rows": int((per_item == 0).sum()),
        "positive_share": positive,
        "categories": {
            name: int(count)
            for name, count in zip(
                dataset.items.category_names, dataset.items.categories.sum(axis=0), strict=True
            )
        },
        "items_without_category": int((~with_category).sum()),
        "attributes": {
            name: dict(Counter(values).most_common())
            for name, values in sorted(dataset.users.attributes.items())
        },
    }
    summary |= _of_a_table(dataset)
    if split is not None:
        summary["split"] = {
            "kind": split.kind,
            "train": len(split.validation.train),
            "validation": len(split.validation.held_out),
            "test": len(split.test.held_out),
            "users_asked": {
                stage.name: len(np.unique(stage.truth.user))
                for stage in (split.validation, split.test)
            },
            "repeats": {
                stage.name: stage.truth_account for stage in (split.validation, split.test)
            },
            "users_without_history": {
                stage.name: int((np.diff(stage.history_indptr) == 0).sum())
                for stage in (split.validation, split.test)
            },
            "items_without_training_rows": int((split.test.popularity == 0).sum()),
            "late_train_share": split.late_train_share,
            "leak": split.leak,
        }
    return summary


def _of_a_table(dataset: Dataset) -> Summary:
    """Summarise what only some data have: prices, groups of items, rows without interaction."""
    rows, items, summary = dataset.interactions, dataset.items, Summary()
    silent = int((~rows.positive(dataset.against)).sum())
    if silent:
        summary["rows_that_are_no_interactions"] = silent
    if items.prices is not None and not np.isnan(items.prices).all():
        low, middle, high = (
            f"{quantile:.6g}" for quantile in np.nanquantile(items.prices, (0, 0.5, 1))
        )
        summary["prices"] = {"least": low, "median": middle, "most": high}
        summary["items_without_price"] = int(np.isnan(items.prices).sum())
    if items.attributes:
        summary["item_attributes"] = {
            name: dict(Counter(values).most_common())
            for name, values in sorted(items.attributes.items())
        }
    if dataset.users.min_group > 1:
        summary["groups_too_small"] = {
            name: {
                value: users
                for value, users in Counter(values).items()
                if value and users < dataset.users.min_group
            }
            for name, values in sorted(dataset.users.attributes.items())
        }
    return summary


def as_text(summary: Mapping[str, object]) -> str:
    """Format a summary as aligned lines."""
    rows = [(name.replace("_", " "), _value(name, value)) for name, value in summary.items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _value(name: str, value: object) -> str:
    if name == "split" and isinstance(value, Mapping) and "problem" in value:
        return f"cannot be made: {value['problem']}"
    if name == "split" and isinstance(value, Mapping):
        parts = ", ".join(f"{part} {value[part]:,}" for part in ("train", "validation", "test"))
        repeated = [repeats_in_words(of, stage) for stage, of in value["repeats"].items()]
        notes = [value["leak"], *(words for words in repeated if words)]
        return f"{value['kind']}: {parts} rows; {'; '.join(notes)}"
    if name == "content_hash":
        return f"{str(value)[:16]}..."
    if isinstance(value, Mapping):
        return _mapping(value, share=name in _SHARES)
    return _number(value, share=name in _SHARES)


def _mapping(value: Mapping[str, object], *, share: bool = False) -> str:
    nested = [isinstance(entry, Mapping) for entry in value.values()]
    if any(nested):
        return "; ".join(
            f"{key}: {_mapping(entry)}"
            for key, entry in value.items()
            if isinstance(entry, Mapping)
        )
    shown = [f"{key} {_number(entry, share=share)}" for key, entry in list(value.items())[:_SHOWN]]
    more = len(value) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more > 0 else "")


def _number(value: object, *, share: bool) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if share else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _spread(counts: IntArray) -> dict[str, float | int]:
    if len(counts) == 0:
        return {}
    return {
        "least": int(counts.min()),
        "median": float(np.median(counts)),
        "most": int(counts.max()),
    }


def _day(seconds: np.int64) -> str:
    return datetime.fromtimestamp(int(seconds), tz=UTC).date().isoformat()
