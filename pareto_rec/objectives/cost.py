"""Cost of a candidate: to train, to store, and to serve.

Values are read from `Outcome.cost`; `pareto_rec.evaluation.costs` and
`pareto_rec.evaluation.latency` say how they are counted and measured.
"""

from __future__ import annotations

from typing import ClassVar

from pareto_rec.objectives.base import SetObjective
from pareto_rec.objectives.outcome import Outcome


class CostObjective(SetObjective):
    """A cost, read from `Outcome.cost` under the name of the family."""

    takes_k: ClassVar[bool] = False
    of_users: ClassVar[bool] = False
    maximise = False
    bounds = (0.0, float("inf"))

    def value(self, outcome: Outcome, /) -> float:
        """Return the cost; NaN where it is not known."""
        return float(outcome.cost.get(self.family, float("nan")))


class TrainSeconds(CostObjective):
    """Wall-clock seconds of the fine-tune that the lists came from.

    Misleads: it depends on the machine and on what else ran there, and differs between two runs;
    candidates that share a fit share its seconds; no data of items that may be missing is read.

    Source: measured by the training loop, from the first batch to the chosen weights.
    """

    family = "train_seconds"
    unit = "s"
    reference = 60.0  # a fit that takes a minute is no longer a short fine-tune
    measured = True


class Parameters(CostObjective):
    """Learnt numbers that the answer to a request depends on.

    The network's parameters where it has a weight in the fusion, plus what every expert with a
    weight keeps (EASE: items x items; item-kNN: neighbours x items; popularity: items), plus the
    backbone's where texts are encoded for a network while the request waits.

    Misleads: a number says little about speed or memory: a table of embeddings costs a look-up, a
    matrix a product, and precision is not seen; no data of items that may be missing is read.

    Source: counted; on what such counts hide, Dehghani et al., The efficiency misnomer, ICLR 2022.
    """

    family = "parameters"
    unit = "parameters"
    reference = 1e8  # four hundred megabytes in float32
    needs = frozenset({"parameters"})


class Flops(CostObjective):
    """Floating-point operations of one request, counted from shapes; two per multiply-add.

    Matrix products of the network for one history (item vectors are computed once, at export, and
    are not counted), experts, standardisation, fusion, and re-ranking; the backbone where texts are
    encoded for a network while the request waits.

    Misleads: look-ups, sorting and moving memory are free in it, and on small batches they decide;
    two paths of equal count may differ tenfold in time; no data of items that may be missing is
    read.

    Source: counted as in Kaplan et al., Scaling laws for neural language models, 2020, table 1; see
    also Dehghani et al., The efficiency misnomer, ICLR 2022.
    """

    family = "flops"
    unit = "FLOP"
    reference = 1e9
    needs = frozenset({"flops"})


class _Latency(CostObjective):
    unit = "ms"
    reference = 100.0  # what a person takes for instantaneous
    measured = True
    replayed = True
    needs = frozenset({"latency"})


class LatencyMedian(_Latency):
    """Median milliseconds of one request: from a user's history to the list, one user at a time.

    Warm, through the serving code, the best of several rounds; measured once per architecture and
    serving shape, stored with the hardware's name, and replayed. Texts are encoded in the path
    only where the experiment says so and a network reads them.

    Misleads: it holds for one machine, one request at a time, without network or queue; half of all
    requests take longer; no data of items that may be missing is read.

    Source: measured as `pareto_rec.evaluation.latency` says; on 100 ms, Nielsen, Usability
    Engineering, 1993, chapter 5.
    """

    family = "latency_p50"


class LatencyTail(_Latency):
    """95th percentile of the milliseconds of one request; else as ``latency_p50``.

    Misleads: a tail needs many requests and an idle machine; a neighbour's work on the same cores
    moves it far more than the median; no data of items that may be missing is read.

    Source: measured as `pareto_rec.evaluation.latency` says; on tails, Dean and Barroso, The tail
    at scale, CACM 2013.
    """

    family = "latency_p95"
