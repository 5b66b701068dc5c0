"""A random two-layer BERT of width 16 with a vocabulary of its own, built without a download."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers

WORDS = ["a", "b", "c", "film", "##s", "the", "of", "war", "love", "(", ")", ":", ",", "1995"]
TEXTS = [
    "the film of love",
    "war",
    "a b c: films (1995)",
    "",
    "love of war, the film",
    "war",
    "b a",
]


def random_bert(folder: Path, seed: int = 0) -> Path:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=20,
        initializer_range=0.5,  # far from 0, so that layers differ clearly
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder
