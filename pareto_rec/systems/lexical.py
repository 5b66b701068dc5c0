"""Lexical match of queries and items: BM25, and features of pairs that need no learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pareto_rec.data.schema import IntArray

FEATURES = ("bm25", "share of the query's words", "words of the item")


def tokens(texts: Sequence[str]) -> list[list[str]]:
    """Return the words of texts in lower case, those of one letter or digit left out."""
    import bm25s

    found: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords=[], return_ids=False, show_progress=False
    )
    return found


def match(
    queries: Sequence[str], items: Sequence[str], query: IntArray, item: IntArray
) -> NDArray[np.float32]:
    """Compute lexical features of pairs ``[pairs, 3]``, by `FEATURES`.

    BM25 (Robertson et al., TREC-3, 1994) with the idf and the k1 and b of Lucene, as bm25s computes
    it; statistics of words are those of the items alone, so that no query decides another's.

    Args:
        queries: Texts of the queries.
        items: Texts of the items.
        query: Query of each pair.
        item: Item of each pair.
    """
    import bm25s

    of_items, of_queries = tokens(items), tokens(queries)
    index = bm25s.BM25(method="lucene")
    index.index(of_items, show_progress=False)
    sets = [frozenset(words) for words in of_items]
    found = np.zeros((len(query), len(FEATURES)), dtype=np.float32)
    order = np.argsort(query, kind="stable")
    edges = np.flatnonzero(np.diff(query[order], prepend=-1))
    for rows in np.split(order, edges[1:]):
        words = of_queries[query[rows[0]]] if len(rows) else []
        known = index.get_tokens_ids(words)
        if len(known):
            found[rows, 0] = index.get_scores_from_ids(known)[item[rows]]
        distinct = set(words)
        if distinct:
            found[rows, 1] = [len(distinct & sets[one]) / len(distinct) for one in item[rows]]
    found[:, 2] = np.log1p([len(of_items[one]) for one in item.tolist()])
    return found
