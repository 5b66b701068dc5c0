"""Trial of a draft on its sample: what can be held out, and what can be measured."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyarrow import parquet

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Dataset, Stage
from pareto_rec.data.split import split
from pareto_rec.data.table.build import read_table
from pareto_rec.data.table.options import Duplicates, TableOptions
from pareto_rec.data.table.profile import Profile
from pareto_rec.data.table.sources import Sources

ENOUGH = 1_000  # users with something to predict, beyond which no other split is looked for
FEWEST = 20  # such users that the best sign of interest needs to count as relevant
MOST_BLANK = 0.2  # share of items without categories, above which lists are not compared by them
_Way = tuple[bool, str, float]  # whether rows of a pair are made one, kind of split, share held out


def _both(*ways: tuple[str, float]) -> tuple[_Way, ...]:
    """List ways to split as the log stands, then with one row for each user and item."""
    return tuple((repeated, kind, share) for repeated in (False, True) for kind, share in ways)


_UNTIMED = _both(("random", 0.1)) + _both(("random", 0.2), ("random", 0.3))
_TIMED = (
    *_both(("per_user", 0.1), ("leave_last_out", 0.1)),
    *_both(("per_user", 0.2), ("per_user", 0.3), ("global_time", 0.1), ("global_time", 0.2)),
    *_UNTIMED,
)


@dataclass(frozen=True)
class Trial:
    """Split and signal by which a draft can be searched.

    Attributes:
        relevance: Signal that counts as relevant.
        split: Kind of split.
        share: Of validation, and of the test.
        duplicates: What happens to rows of one user and item.
        length: Of the lists that are measured.
        diverse: Whether enough items have categories to compare lists by them.
    """

    relevance: str
    split: str
    share: float
    duplicates: Duplicates
    length: int
    diverse: bool


def attempt(data: str, sources: Sources, relevance: Sequence[str], once: Duplicates) -> Trial:
    """Read and split the sample as a draft says, and choose a split that works.

    Args:
        data: The ``[data]`` table of the draft.
        sources: The files.
        relevance: Signals that may count as relevant, the best first.
        once: What makes one row of those of one user and item, where it has to be.

    Raises:
        BadRequestError: If nothing can be held out, in words that say what the data lacks.
    """
    best: tuple[int, Trial | None] = (0, None)
    name = sources.log.label
    with tempfile.TemporaryDirectory() as folder:
        options = _options(data, sources, Path(folder))
        policies: tuple[Duplicates, ...] = ("keep", once)
        read = {
            policy: read_table(options.model_copy(update={"duplicates": policy}), name)
            for policy in policies
        }
        dataset = read["keep"]
        enough = min(ENOUGH, max(len(dataset.users) // 4, 1))
        for reach, trial in _ways(read, once, relevance or ("interaction",)):
            if reach > best[0]:
                best = reach, trial
            if reach >= enough:
                return trial
    if best[1] is None:
        rows = dataset.interactions
        raise BadRequestError(
            f"{name}: nothing can be held out to search on: {len(rows):,} rows of "
            f"{len(dataset.users):,} users and {len(dataset.items):,} items; a search needs users "
            "with at least four different items, best ten"
        )
    return best[1]


def _options(data: str, sources: Sources, folder: Path) -> TableOptions:
    table = tomllib.loads(data)["data"]
    for name in ("kind", "name", "relevance", "liked"):
        table.pop(name, None)
    table["files"] = [_written(p, folder) for p in (sources.log, *sources.more)]
    for name, side in (("items", sources.items), ("users", sources.users)):
        if side and name in table and "files" in table[name]:
            table[name]["files"] = [_written(side.profile, folder)]
    for key in ("separator", "encoding", "header", "names", "quoting", "escape"):
        table.pop(key, None)
    return TableOptions.model_validate(table)


def _written(profile: Profile, folder: Path) -> str:
    path = folder / f"{id(profile)}.parquet"
    if not path.exists():
        parquet.write_table(profile.table, path)
    return str(path)


def _ways(
    read: Mapping[Duplicates, Dataset], once: Duplicates, relevance: Sequence[str]
) -> Iterator[tuple[int, Trial]]:
    """Yield the users with a truth under every kind of split, the wanted ones first."""
    length = _length(len(read["keep"].items))
    for repeated, kind, share in _TIMED if read["keep"].timed else _UNTIMED:
        duplicates: Duplicates = once if repeated else "keep"
        try:
            parts = split(read[duplicates], kind, validation=share, test=share, seed=0)
        except BadRequestError:
            continue
        stages = (parts.validation, parts.test)
        counts = {s: min(_users_asked(stage, s) for stage in stages) for s in relevance}
        reach = max(counts.values()) if _learners(parts.validation) else 0
        if reach:
            signal = next(s for s in relevance if counts[s] >= min(FEWEST, max(reach // 4, 1)))
            diverse = _diverse(parts.validation, length)
            yield reach, Trial(signal, kind, share, duplicates, length, diverse)


def _users_asked(stage: Stage, signal: str) -> int:
    """Count users with relevant held-out items that are not in their history."""
    held = stage.held_out
    wanted = held.signals[signal] > 0
    width = max(len(stage.items), 1)
    known = stage.history.user * width + stage.history.item
    pairs = held.user[wanted] * width + held.item[wanted]
    return len(np.unique(pairs[~np.isin(pairs, known)] // width))


def _learners(stage: Stage) -> int:
    """Count users with a history to learn from: two training rows or more."""
    return int((np.bincount(stage.train.user, minlength=len(stage.users)) > 1).sum())


def _diverse(stage: Stage, length: int) -> bool:
    """Return whether categories tell lists apart: most items have some, and they differ."""
    categories = stage.items.categories
    if categories.shape[1] < 2 or length < 2:
        return False
    met = np.unique(stage.history.user * len(stage.items) + stage.history.item)
    known = np.bincount(met // len(stage.items), minlength=len(stage.users))
    if (len(stage.items) - known >= 2).mean() < 0.5:
        return False
    blank = ~categories.any(axis=1)
    return float(blank.mean()) <= MOST_BLANK and len(np.unique(categories, axis=0)) > 1


def _length(items: int) -> int:
    return 10 if items >= 20 else max(items // 2, 1)
