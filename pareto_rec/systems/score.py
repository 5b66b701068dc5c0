"""Scores: the probability of a yes for a row of text, numbers and categories."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pareto_rec.core.code_keys import code_key
from pareto_rec.core.declarations import variable
from pareto_rec.core.errors import BadRequestError, construct
from pareto_rec.core.limits import Number
from pareto_rec.core.seeds import child_seed, generator
from pareto_rec.data.schema import IntArray
from pareto_rec.data.table.options import Rule
from pareto_rec.data.table.rows import Rows, Wanted, read_rows
from pareto_rec.experiment.config.systems import ScoreSystem
from pareto_rec.models.base import Params
from pareto_rec.search.space import Value
from pareto_rec.systems.base import (
    AT,
    Learner,
    Read,
    System,
    SystemObjective,
    dropped,
    initial,
    refuse,
)
from pareto_rec.systems.parts import Parts, by_entity, summary
from pareto_rec.systems.spec import Shared

HIDDEN = 32  # units between a row and its score
MOST_CATEGORIES = 50  # of a column; the rest are one
BINS = 10  # of the calibration error
Floats = NDArray[np.float64]


def _auc(label: Floats, chance: Floats) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(label, chance))


def _average_precision(label: Floats, chance: Floats) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(label, chance))


def _log_loss(label: Floats, chance: Floats) -> float:
    from sklearn.metrics import log_loss

    return float(log_loss(label, np.clip(chance, 1e-7, 1 - 1e-7), labels=[0, 1]))


def calibration_error(label: Floats, chance: Floats) -> float:
    """Compute the expected calibration error, in ten bins of equally many rows.

    ``sum_b n_b / n |mean label - mean chance|`` (Naeini, Cooper and Hauskrecht, AAAI 2015).
    """
    order = np.argsort(chance, kind="stable")
    parts = np.array_split(order, BINS)
    gaps = [len(one) * abs(label[one].mean() - chance[one].mean()) for one in parts if len(one)]
    return float(sum(gaps) / len(label))


METRICS: Mapping[str, tuple[Callable[[Floats, Floats], float], bool, str, float]] = {
    "auc": (_auc, True, "1", 0.5),
    "average_precision": (_average_precision, True, "1", 0.0),
    "log_loss": (_log_loss, False, "nat", math.log(2)),
    "calibration_error": (calibration_error, False, "1", 0.5),
}
"""Objective -> how it is computed, whether more is better, its unit and its default reference."""


@dataclass(frozen=True)
class ScoresVariables:
    """Training variables of a system that scores."""

    dropout: float = variable(
        0.1, Number(low=0, high=1, open_high=True), "Share of the coordinates of texts dropped."
    )
    positive_weight: float = variable(
        1.0, Number(low=1e-3, high=1e3), "Weight of a row of a yes in the loss."
    )


class Scores(System):
    """A system that scores rows.

    The vector of a row's text, its numbers in deviations of the training rows and an indicator for
    each common category go through one hidden layer, beside a linear map of the same. The loss is
    binary cross-entropy, with a weight for rows of a yes; what that weight adds to the log odds is
    taken off again, so that probabilities are those of the data.
    """

    kind = "score"
    variables = ScoresVariables

    def __init__(self, config: ScoreSystem) -> None:
        """Read and split the rows.

        Raises:
            BadRequestError: If they cannot be read, or a part lacks a yes or a no.
        """
        self.name, self.config = config.name, config
        data, what = config.data, f"system {config.name}"
        texts = {"text": data.text, "entity": config.split.by}
        texts |= {f"category {name}": name for name in data.categories}
        values = {"label": data.label}
        values |= {f"number {name}": Rule(column=name) for name in data.numbers}
        wanted = Wanted(texts, values, frozenset(("text", "entity", "label")))
        rows = read_rows(data, wanted, f"{what}: data.files")
        self._dropped = 0
        if data.unique:
            _, first = np.unique(np.array(rows.texts["text"], dtype=object), return_index=True)
            self._dropped = len(rows) - len(first)
            rows = rows.take(np.sort(first))
        self.rows: Rows = rows
        self.label = (rows.values["label"] > 0).astype(np.float64)
        share = config.split
        self.parts: Parts = by_entity(
            rows.texts["entity"],
            validation=share.validation,
            test=share.test,
            seed=share.seed,
            what=what,
        )
        for part in ("train", "validation", "test"):
            own = self.label[getattr(self.parts, part)]
            if own.min() == own.max():
                only = "yes" if own[0] else "no"
                raise BadRequestError(
                    f"{what}: every row of the {part} part is a {only}, so nothing can be told "
                    "apart; check data.label, or split by another column"
                )

    @property
    def texts(self) -> tuple[str, ...]:
        """Text of each row."""
        return self.rows.texts["text"]

    @cached_property
    def key(self) -> str:
        """What identifies rows and split."""
        digest = hashlib.sha256(json.dumps(self.config.split.model_dump()).encode())
        for name, texts in sorted(self.rows.texts.items()):
            digest.update(json.dumps([name, texts]).encode())
        for name, values in sorted(self.rows.values.items()):
            digest.update(name.encode() + values.tobytes())
        digest.update(code_key(__name__).encode())
        return digest.hexdigest()

    @property
    def account(self) -> Mapping[str, Any]:
        """Where every row went, and rows per part."""
        return {
            **self.rows.account.summary(),
            "same_text_dropped": self._dropped,
            "parts": summary(self.parts, self.rows.texts["entity"]),
            "yes": {
                part: int(self.label[getattr(self.parts, part)].sum())
                for part in ("train", "validation", "test")
            },
        }

    def objective(self, name: str) -> SystemObjective:
        """Return one of `METRICS`."""
        if name not in METRICS:
            raise refuse(self.name, "objective", name, list(METRICS))
        _, maximise, unit, reference = METRICS[name]
        return SystemObjective(f"{name}{AT}{self.name}", maximise, unit, reference)

    @cached_property
    def columns(self) -> NDArray[np.float32]:
        """Numbers and indicators of categories ``[rows, C]``; what is not known is 0."""
        train, found = self.parts.train, []
        for name in self.config.data.numbers:
            values = self.rows.values[f"number {name}"]
            mean, deviation = np.nanmean(values[train]), np.nanstd(values[train])
            found.append(np.nan_to_num((values - mean) / max(deviation, 1e-9)))
        for name in self.config.data.categories:
            texts = np.array(self.rows.texts[f"category {name}"], dtype=object)
            common = Counter(text for text in texts[train].tolist() if text)
            for text, _ in sorted(common.most_common(MOST_CATEGORIES)):
                found.append((texts == text).astype(np.float64))
        if not found:
            return np.zeros((len(self.rows), 0), dtype=np.float32)
        return np.stack(found, axis=1).astype(np.float32)

    def learner(self, shared: Shared, own: Mapping[str, Any], seed: int) -> Learner:
        """Begin a fit."""
        return _ScoresLearner(self, shared, own, seed)

    def measure(
        self,
        head: Params,
        shared: Shared,  # noqa: ARG002  # as the base class
        own: Mapping[str, Any],
        vectors: Tensor,
        serve: Sequence[Mapping[str, Value]],
        wanted: Sequence[str],
    ) -> list[dict[str, float]]:
        """Measure on the validation rows; there are no serving variables."""
        rows = self.parts.validation
        chance = self.chances(head, own, vectors, rows)
        values = self._values(rows, chance, wanted)
        return [dict(values) for _ in serve]

    def chances(
        self, head: Params, own: Mapping[str, Any], vectors: Tensor, rows: IntArray
    ) -> Floats:
        """Compute the probability of a yes of some rows ``[rows]``."""
        weight = construct("training variable", ScoresVariables, own).positive_weight
        with torch.no_grad():
            columns = torch.from_numpy(self.columns[rows]).to(vectors)
            odds = log_odds(head, vectors[torch.from_numpy(rows)], columns)
        shifted = odds.cpu().double().numpy() - math.log(weight)
        return np.asarray(1.0 / (1.0 + np.exp(-shifted)))

    def _values(self, rows: IntArray, chance: Floats, wanted: Sequence[str]) -> dict[str, float]:
        label = self.label[rows]
        return {name: METRICS[name][0](label, chance) for name in wanted}

    def baselines(self, wanted: Sequence[str]) -> dict[str, dict[str, float]]:
        """Measure logistic regression on words, and boosted trees on their leading components."""
        rows = self.parts.validation
        train, asked = _words(self, rows)
        label = self.label[self.parts.train]
        chances = {
            "logistic_regression": _logistic(train, label, asked),
            "boosted_trees": _trees(train, label, asked),
        }
        return {name: self._values(rows, chance, wanted) for name, chance in chances.items()}


def _words(system: Scores, rows: IntArray) -> tuple[Any, Any]:
    """Return TF-IDF of words and word pairs, with the columns, of training and of some rows."""
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, train = system.texts, system.parts.train
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    fitted = words.fit_transform([texts[n] for n in train.tolist()])
    asked = words.transform([texts[n] for n in rows.tolist()])
    both = ((fitted, train), (asked, rows))
    parts = [
        sparse.csr_matrix(sparse.hstack([of, sparse.csr_matrix(system.columns[n])]))
        for of, n in both
    ]
    return parts[0], parts[1]


def _logistic(train: Any, label: Floats, measured: Any) -> Floats:
    """Logistic regression on words and columns; its penalty by cross-validation on training."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    plain = LogisticRegression(max_iter=500)
    model = GridSearchCV(plain, {"C": np.logspace(-2, 4, 7)}, cv=5, scoring="neg_log_loss")
    model.fit(train, label)
    return np.asarray(model.predict_proba(measured)[:, 1])


def _trees(train: Any, label: Floats, measured: Any) -> Floats:
    """Histogram gradient boosting on 50 components of words and columns."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.ensemble import HistGradientBoostingClassifier

    components = TruncatedSVD(min(50, train.shape[1] - 1), random_state=0).fit(train)
    model = HistGradientBoostingClassifier(random_state=0, early_stopping=True)
    model.fit(components.transform(train), label)
    return np.asarray(model.predict_proba(components.transform(measured))[:, 1])


def log_odds(head: Params, vectors: Tensor, columns: Tensor) -> Tensor:
    """Compute log odds of a yes ``[rows]``.

    Args:
        head: Parameters, stacked ``[1, ...]``.
        vectors: Of the texts ``[rows, D]``.
        columns: Numbers and indicators ``[rows, C]``.
    """
    own = {name: value[0] for name, value in head.items()}
    seen = torch.cat([vectors, columns], dim=-1)
    hidden = torch.nn.functional.gelu(seen @ own["in"] + own["in_bias"])
    odds: Tensor = (seen @ own["linear"] + hidden @ own["out"]).squeeze(-1) + own["bias"]
    return odds


class _ScoresLearner(Learner):
    """The scoring system's part of a fit."""

    def __init__(self, system: Scores, shared: Shared, own: Mapping[str, Any], seed: int) -> None:
        self.system, self.shared, self.own, self.seed = system, shared, own, seed
        values = construct("training variable", ScoresVariables, own)
        self.drop, self.weight = values.dropout, values.positive_weight
        width = shared.width + system.columns.shape[1]
        shapes: dict[str, tuple[int, ...]] = {
            "in": (width, HIDDEN),
            "in_bias": (HIDDEN,),
            "out": (HIDDEN, 1),
            "linear": (width, 1),
            "bias": (1,),
        }
        self.params = initial(shapes, child_seed(seed, "init"), shared.device)
        rate = system.label[system.parts.train].mean()
        odds = math.log(rate / (1 - rate) * self.weight)
        with torch.no_grad():
            self.params["bias"].fill_(odds)
            self.params["linear"].mul_(0.1)
        self.noise = torch.Generator().manual_seed(child_seed(seed, "noise"))
        self.batches: NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)

    def draw(self, first: int) -> None:
        """Draw training rows."""
        rng, train = generator(self.seed, "rows", first), self.system.parts.train
        self.batches = train[
            rng.integers(0, len(train), (self.shared.check_every, self.shared.rows))
        ]

    def loss(self, offset: int, read: Read) -> Tensor:
        """Compute the weighted cross-entropy, in shares of log 2."""
        rows, device = self.batches[offset], self.shared.device
        vectors = read(torch.from_numpy(rows).to(device))
        vectors = dropped(vectors, self.drop, self.noise)
        odds = log_odds(
            self.params, vectors, torch.from_numpy(self.system.columns[rows]).to(device)
        )
        label = torch.from_numpy(self.system.label[rows].astype(np.float32)).to(device)
        weight = 1 + (self.weight - 1) * label
        loss = torch.nn.functional.binary_cross_entropy_with_logits(odds, label, weight)
        return loss / weight.mean() / math.log(2)

    def watch(self, vectors: Tensor) -> float:
        """Compute the AUC of the validation rows."""
        rows = self.system.parts.validation
        return _auc(
            self.system.label[rows], self.system.chances(self.params, self.own, vectors, rows)
        )
