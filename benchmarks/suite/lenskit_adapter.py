"""LensKit's evaluation of lists, run by a Python that has LensKit and not this package."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np


def measure(path: str, rounds: int) -> dict[str, Any]:
    """Return the mean NDCG@10 and MRR@10 of lists, and the median seconds that they take.

    Args:
        path: ``.npz`` file with ``lists [users, 10]`` and the held-out items as a CSR matrix.
        rounds: How often it is measured.
    """
    import lenskit
    from lenskit.data import ItemList, ItemListCollection
    from lenskit.metrics import NDCG, LogRankWeight, RecipRank, RunAnalysis

    content = np.load(path, allow_pickle=False)
    lists, starts, held = content["lists"], content["indptr"], content["indices"]
    outputs = ItemListCollection(["user_id"])
    test = ItemListCollection(["user_id"])
    for user in np.flatnonzero(np.diff(starts)).tolist():
        outputs.add(ItemList(item_ids=lists[user], ordered=True), user_id=user)
        test.add(ItemList(item_ids=held[starts[user] : starts[user + 1]]), user_id=user)
    spent: list[float] = []
    result: Any = None
    for _ in range(rounds + 1):
        analysis = RunAnalysis()
        analysis.add_metric(NDCG(10, weight=LogRankWeight(offset=1)), "ndcg@10")
        analysis.add_metric(RecipRank(10), "mrr@10")
        began = time.perf_counter()
        result = analysis.measure(outputs, test)
        spent.append(time.perf_counter() - began)
    means = result.list_metrics().mean()
    return {
        "version": lenskit.__version__,
        "seconds": float(np.median(spent[1:])),
        "ndcg@10": float(means["ndcg@10"]),
        "mrr@10": float(means["mrr@10"]),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
