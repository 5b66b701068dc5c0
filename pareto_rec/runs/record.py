"""Records of evaluated candidates, and their lines of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from pareto_rec.core.checksums import KEY, signed
from pareto_rec.runs.lines import entry_of

Value = float | int | str | tuple[float, ...] | Mapping[str, float]
Status = Literal["ok", "failed", "pruned"]
Origin = Literal["own", "sweep", "serving"]

EXPERTS_ALONE = "experts"  # fit of records that no network had a say in
NETWORK = "network"  # the one fit of a candidate in its fusion (`pareto_rec.ranking.NETWORK`)
_BETWEEN = "+"  # ids of fits in the fit of a record


@dataclass(frozen=True)
class Record:
    """One evaluated (candidate, seed).

    Attributes:
        id: Candidate id, derived from its content.
        fit: Id of the fit that it was evaluated on; of several fits, their ids, sorted and joined
            by "+" (`joined`); ``"experts"`` without one.
        members: What its lists fuse: fits by id and baselines by name -> weight; empty if it
            failed before that was known.
        seed: Seed of the fit.
        generation: Generation in which it was evaluated, from 0.
        position: Place within the generation; (generation, position) is the order of the search.
        origin: ``"own"``: the candidate's own serving variables; ``"sweep"``: one of the others;
            ``"serving"``: a setting of the serving search.
        train: Training variables, natural values; none where several fits are fused, each of
            which has the training variables of its own records.
        serve: Serving variables, natural values. A fusion names the one fit of a candidate
            ``"network"``, and several fits, in a table of weights, by their ids.
        status: ``"ok"``, ``"failed"`` or ``"pruned"``.
        objectives: Objective name -> value in natural units, searched and reported ones.
        reason: Why it is not ``"ok"``.
        timing: Seconds; not part of the identity of a record.
    """

    id: str
    fit: str
    members: Mapping[str, float]
    seed: int
    generation: int
    position: int
    origin: Origin
    train: Mapping[str, Value]
    serve: Mapping[str, Value]
    status: Status
    objectives: Mapping[str, float]
    reason: str | None = None
    timing: Mapping[str, float] = field(default_factory=dict)

    @property
    def fit_ids(self) -> tuple[str, ...]:
        """Ids of the fits that it was evaluated on; none for experts alone."""
        return fit_ids(self.fit)

    def to_json(self) -> str:
        """Return one line of ``records.jsonl``, without the line break."""
        return json.dumps(signed(asdict(self)), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Return the record of a line.

        Raises:
            ValueError: If it is not exactly what :meth:`to_json` writes; the message says where.
        """
        entry = entry_of(line.encode())
        return cls.of({key: value for key, value in entry.items() if key != KEY})

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Record:
        """Return the record of a line's entry (`pareto_rec.runs.lines`).

        Raises:
            ValueError: If it is not exactly what :meth:`to_json` writes; the message says where.
        """
        entry = dict(line)
        if set(entry) != {one.name for one in fields(cls)}:
            raise ValueError("its keys are not those of a record")
        for name in ("train", "serve"):
            entry[name] = {key: _value(name, value) for key, value in _table(entry, name)}
        for name in ("members", "objectives", "timing"):
            entry[name] = {key: _number(name, value) for key, value in _table(entry, name)}
        for name in ("id", "fit"):
            if not isinstance(entry[name], str) or not entry[name]:
                raise ValueError(f"{name} is not a name")
        for name in ("seed", "generation", "position"):
            if type(entry[name]) is not int or entry[name] < 0:
                raise ValueError(f"{name} is not a whole number from 0")
        if entry["origin"] not in get_args(Origin) or entry["status"] not in get_args(Status):
            raise ValueError("origin or status is not known")
        if isinstance(entry["reason"], str) != (entry["status"] != "ok"):
            raise ValueError("status and reason do not go together")
        return cls(**entry)

    def outside_timing(self) -> Mapping[str, Any]:
        """Return everything that two evaluations of the same candidate must agree on."""
        return {**asdict(self), "timing": None}


def joined(fits: Iterable[str]) -> str:
    """Return what a record calls some fits: their ids, sorted and joined, or `EXPERTS_ALONE`."""
    return _BETWEEN.join(sorted(set(fits))) or EXPERTS_ALONE


def fit_ids(fit: str) -> tuple[str, ...]:
    """Return the ids of the fits that a record names; the inverse of `joined`."""
    return () if fit == EXPERTS_ALONE else tuple(fit.split(_BETWEEN))


def without_fits(values: Mapping[str, Any], fit: str) -> dict[str, Any]:
    """Return serving variables as tables of records show them: fits together as ``"network"``.

    Args:
        values: Serving variables by name, tables of weights among them.
        fit: Of the record; ids of its fits in a table give way to the sum of their weights.
    """
    return {name: _together(value, fit_ids(fit)) for name, value in values.items()}


def _together(value: Any, fits: tuple[str, ...]) -> Any:  # Any: as `without_fits` is given it
    own = [name for name in fits if isinstance(value, Mapping) and name in value]
    if not own:
        return value
    rest = {name: weight for name, weight in value.items() if name not in own}
    return {NETWORK: sum(value[name] for name in own), **rest}


def _table(entry: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    if not isinstance(entry[name], dict):
        raise ValueError(f"{name} is not a table")
    return list(entry[name].items())


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} holds {value!r}, which is not a number")
    return value


def _value(name: str, value: object) -> Value:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return tuple(_number(name, part) for part in value)
    if isinstance(value, dict):
        return {key: _number(name, part) for key, part in value.items()}
    return _number(name, value)
