"""The encoder and its cached states, against plain loops over a random two-layer BERT."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from random_bert import TEXTS, random_bert

from pareto_rec.backbone.cached import DEFAULT, Backbone, Reading
from pareto_rec.backbone.features import DECIDING, equal_lengths, token_ids
from pareto_rec.core.code_keys import code_key
from pareto_rec.core.errors import BadRequestError, RunFailedError
from pareto_rec.core.paths import cache_dir

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def backbone(folder: Path, tmp_path: Path) -> Backbone:
    return Backbone.load(folder, tmp_path)


def plain(folder: Path, texts: list[str], cut: int, max_length: int = 64) -> NDArray[np.float32]:
    """One text at a time through the untouched model, all of its hidden states kept."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        encoded = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            states = model(**encoded, output_hidden_states=True).hidden_states[cut]
        rows.append(states[0].mean(dim=0).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("cut", [0, 1, 2, None])
def test_states_equal_a_plain_loop_at_every_cut(backbone: Backbone, cut: int | None) -> None:
    features = backbone.encode(TEXTS, cut=cut, max_length=20, batch_size=2)
    expected = plain(backbone.folder, TEXTS, 2 if cut is None else cut)
    assert features.states.shape == (len(TEXTS), 16)
    assert features.states.dtype == np.float32
    np.testing.assert_allclose(features.states, expected, atol=2e-6)


def test_cuts_differ_and_shape_is_known_without_weights(backbone: Backbone) -> None:
    assert (backbone.n_layers, backbone.width) == (2, 16)
    states = [backbone.encode(TEXTS, cut=cut, max_length=20).states for cut in (0, 1, 2)]
    assert np.abs(states[0] - states[1]).max() > 0.1
    assert np.abs(states[1] - states[2]).max() > 0.1


def test_texts_are_cut_at_max_length(backbone: Backbone) -> None:
    features = backbone.encode(TEXTS, max_length=4)
    np.testing.assert_allclose(features.states, plain(backbone.folder, TEXTS, 2, 4), atol=2e-6)


def test_weights_are_the_same_before_and_after(backbone: Backbone) -> None:
    before = backbone.state_hash()
    layers = len(backbone.model.encoder.layer)
    for cut in (0, 1, 2):
        backbone.encode(TEXTS, cut=cut, max_length=20)
    view = backbone.below(1)
    assert len(view.encoder.layer) == 1
    assert view.encoder.layer[0] is backbone.model.encoder.layer[0]
    assert len(backbone.model.encoder.layer) == layers == 2
    assert backbone.state_hash() == before
    with torch.no_grad():
        backbone.model.encoder.layer[1].output.dense.bias[0] += 1.0
    assert backbone.state_hash() != before


def test_weights_need_no_gradient_and_dropout_is_off(backbone: Backbone) -> None:
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not backbone.model.training
    assert not backbone.below(1).training


def test_second_call_maps_the_file(
    backbone: Backbone, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backbone.encode(TEXTS, max_length=20)
    again = Backbone.load(folder, backbone.cache)
    monkeypatch.setattr(Backbone, "token_states", lambda *_: pytest.fail("computed again"))
    second = again.encode(TEXTS, max_length=20)
    assert (first.cached, second.cached) == (False, True)
    assert first.key == second.key
    np.testing.assert_array_equal(first.states, second.states)
    for features in (first, second):
        assert isinstance(features.states, np.memmap)
        assert not features.states.flags.writeable
    files = sorted(path.name for path in (backbone.cache / "features").iterdir())
    stem = f"{first.key}-{code_key(*DECIDING)}"
    assert files == [f"{stem}.json", f"{stem}.npy"]
    said = json.loads((backbone.cache / "features" / files[0]).read_text())
    assert (said["cut"], said["max_length"], said["shape"]) == (2, 20, [7, 16])


def test_second_call_imports_neither_torch_nor_transformers(backbone: Backbone) -> None:
    backbone.encode(TEXTS, max_length=20)
    code = (
        "import sys, pathlib, json\n"
        "from pareto_rec.backbone.cached import Backbone\n"
        "folder, cache, texts = sys.argv[1:]\n"
        "backbone = Backbone.load(folder, pathlib.Path(cache))\n"
        "assert backbone.encode(json.loads(texts), max_length=20).cached\n"
        "sys.exit(', '.join({'torch', 'transformers'} & set(sys.modules)) or 0)\n"
    )
    arguments = [str(backbone.folder), str(backbone.cache), json.dumps(TEXTS)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_keys_tell_everything_apart_that_matters(backbone: Backbone, tmp_path: Path) -> None:
    other_weights = Backbone.load(random_bert(tmp_path / "other", seed=1), tmp_path)
    shutil.copytree(backbone.folder, tmp_path / "words")
    words = (tmp_path / "words" / "vocab.txt").read_text()
    (tmp_path / "words" / "vocab.txt").write_text(words.replace("love\n", "hate\n"))
    other_words = Backbone.load(tmp_path / "words", tmp_path)
    keys = [
        backbone.encode(TEXTS, max_length=20).key,
        backbone.encode(TEXTS, max_length=19).key,
        backbone.encode(TEXTS, max_length=20, cut=1).key,
        backbone.encode(TEXTS, max_length=20, dtype="float16").key,
        backbone.encode(TEXTS[::-1], max_length=20).key,
        backbone.encode([*TEXTS[:-1], "b", "a"], max_length=20).key,
        other_weights.encode(TEXTS, max_length=20).key,
        other_words.encode(TEXTS, max_length=20).key,
    ]
    assert len(set(keys)) == len(keys)
    assert other_weights.state_hash() != backbone.state_hash()


def test_key_does_not_depend_on_where_the_folder_is(backbone: Backbone, tmp_path: Path) -> None:
    shutil.copytree(backbone.folder, tmp_path / "copy")
    copy = Backbone.load(tmp_path / "copy", tmp_path / "cache")
    assert copy.weights_hash == backbone.weights_hash
    assert copy.encode(TEXTS, max_length=20).key == backbone.encode(TEXTS, max_length=20).key


def test_half_precision_is_the_rounded_state(backbone: Backbone) -> None:
    full = backbone.encode(TEXTS, max_length=20).states
    half = backbone.encode(TEXTS, max_length=20, dtype="float16").states
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_overflow_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    backbone = Backbone.load(folder, tmp_path)
    with torch.no_grad():
        backbone.model.encoder.layer[1].output.LayerNorm.bias.fill_(1e6)
    with pytest.raises(RunFailedError, match="cut 2 overflow float16"):
        backbone.encode(TEXTS, max_length=20, dtype="float16")
    assert list((tmp_path / "features").iterdir()) == []


def test_a_damaged_file_is_computed_again(backbone: Backbone) -> None:
    first = backbone.encode(TEXTS, max_length=20)
    expected = np.array(first.states)
    [path] = (backbone.cache / "features").glob(f"{first.key}-*.npy")
    content = path.read_bytes()
    del first
    for damaged in (content[:-10], content[:20], b""):
        path.write_bytes(damaged)
        again = backbone.encode(TEXTS, max_length=20)
        assert not again.cached
        np.testing.assert_array_equal(again.states, expected)


def test_interrupted_encoding_leaves_nothing(backbone: Backbone) -> None:
    def interrupt(*_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backbone.encode(TEXTS, max_length=20, progress=interrupt)
    assert list((backbone.cache / "features").iterdir()) == []


def test_progress_counts_up_to_all_texts(backbone: Backbone) -> None:
    told: list[tuple[int, int, float]] = []
    backbone.encode(TEXTS, max_length=20, batch_size=1, progress=lambda *now: told.append(now))
    assert [done for done, _, _ in told] == [1, 2, 3, 4, 5, 6, 7]
    assert {total for _, total, _ in told} == {7}
    assert all(speed > 0 for _, _, speed in told)


def test_texts_are_tokenised_in_parts_that_change_nothing(
    backbone: Backbone, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = TEXTS * 5
    whole = backbone.encode(texts, max_length=20, batch_size=2)
    tokens = backbone.tokens(texts, Reading(20))
    other = Backbone.load(folder, tmp_path / "other")
    asked, tokenizer = [], other.tokenizer

    def counted(part: list[str], **options: object) -> object:
        asked.append(len(part))
        return tokenizer(part, **options)

    other.__dict__["tokenizer"] = counted
    monkeypatch.setattr("pareto_rec.backbone.features.TOKENISED", 4)
    np.testing.assert_array_equal(
        other.encode(texts, max_length=20, batch_size=2).states, whole.states
    )
    assert asked == [4] * 8 + [3]  # each text once, never all of them together
    found = other.tokens(texts, Reading(20))
    for row, text in enumerate(texts):
        ids = tokenizer(text, truncation=True, max_length=20)["input_ids"]
        for one in (tokens, found):
            assert one.ids[one.starts[row] : one.starts[row + 1]].tolist() == ids


def test_memory_of_tokenising_is_that_of_the_ids() -> None:
    def tokenise(part: list[str]) -> list[list[int]]:
        return [[1000 + int(text) % 7 + place for place in range(16)] for text in part]

    texts = [str(number) for number in range(60_000)]
    tracemalloc.start()
    found = token_ids(texts, tokenise)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.ids.dtype == np.uint16
    assert found.batch(np.array([8, 59_999])).tolist() == tokenise(["8", "59999"])
    assert peak < 10e6  # ids and a copy: 4 MB; as lists of numbers: 35 MB


def test_ids_beyond_two_bytes_are_kept() -> None:
    found = token_ids(["a", "b"], lambda part: [[70_000 + len(text), 2] for text in part])
    assert found.batch(np.array([0, 1])).tolist() == [[70_001, 2]] * 2


def test_batches_hold_one_length_each_and_every_row_once() -> None:
    lengths = [5, 3, 5, 9, 3, 5, 5]
    batches = [rows.tolist() for rows in equal_lengths(lengths, 3)]
    assert batches == [[3], [0, 2, 5], [6], [1, 4]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cut": 3}, r"cut = 3 .*from 0 to 2"),
        ({"cut": -1}, r"cut = -1 .*from 0 to 2"),
        ({"max_length": 21}, r"max_length = 21 .*from 3 to 20"),
        ({"max_length": 2}, r"max_length = 2 "),
        ({"batch_size": 0}, r"batch_size = 0 "),
        ({"dtype": "float61"}, r'"float61" \(did you mean "float16"\?\)'),
        ({"device": "nothing"}, r'device "nothing"'),
    ],
)
def test_arguments_out_of_range_are_refused(
    backbone: Backbone, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(BadRequestError, match=words) as caught:
        backbone.encode(TEXTS, **{"max_length": 20, **arguments})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_no_texts_are_refused(backbone: Backbone) -> None:
    with pytest.raises(BadRequestError, match="number of texts = 0"):
        backbone.encode([], max_length=20)


def test_other_architectures_can_be_cut(tmp_path: Path) -> None:
    config = transformers.DistilBertConfig(
        vocab_size=19, dim=8, hidden_dim=12, n_layers=3, n_heads=2, max_position_embeddings=20
    )
    random_bert(tmp_path / "distil")
    (tmp_path / "distil" / "model.safetensors").unlink()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.DistilBertModel(config).save_pretrained(tmp_path / "distil")
    backbone = Backbone.load(tmp_path / "distil", tmp_path)
    assert (backbone.n_layers, backbone.width) == (3, 8)
    states = backbone.encode(TEXTS, cut=2, max_length=20).states
    np.testing.assert_allclose(states, plain(backbone.folder, TEXTS, 2), atol=2e-6)


def test_minilm_agrees_with_padded_masked_means(tmp_path: Path) -> None:
    """The pooling that the authors of the model publish: masked mean over a padded batch."""
    try:
        backbone = Backbone.load(DEFAULT, cache_dir())
    except BadRequestError as error:
        if str(error).startswith("cannot fetch"):
            pytest.skip(str(error))
        raise
    assert (backbone.n_layers, backbone.width) == (6, 384)
    texts = [
        "Toy Story (1995): Animation, Children's, Comedy",
        "War",
        "Shanghai Triad (Yao a yao yao dao waipo qiao) (1995): Drama",
        "Misérables, Les (1995)",
    ]
    before = backbone.state_hash()
    model = transformers.AutoModel.from_pretrained(backbone.folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(backbone.folder)
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**encoded, output_hidden_states=True).hidden_states
    mask = encoded["attention_mask"][:, :, None].float()
    for cut in (3, 6):
        expected = ((states[cut] * mask).sum(1) / mask.sum(1)).numpy()
        found = backbone.encode(texts, cut=cut, cache=tmp_path).states
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert backbone.state_hash() == before


def test_every_depth_comes_from_one_pass(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    whole = Backbone.token_states
    monkeypatch.setattr(
        Backbone, "token_states", lambda self, *args: passes.append(args[1]) or whole(self, *args)
    )
    found = backbone.encode_depths(TEXTS, [2, 0, 1], Reading(max_length=20))
    assert passes == [[0, 1, 2]]
    for cut in (0, 1, 2):
        alone = backbone.encode(TEXTS, cut=cut, max_length=20)
        assert alone.cached
        assert alone.key == found[cut].key
        expected = plain(backbone.folder, TEXTS, cut)
        np.testing.assert_allclose(alone.states, expected, atol=2e-6)
    assert len(passes) == 1


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_other_precisions_are_near_and_kept_apart(backbone: Backbone, precision: str) -> None:
    before = backbone.state_hash()
    exact = backbone.encode(TEXTS, max_length=20)
    near = backbone.encode(TEXTS, max_length=20, precision=precision)
    assert near.key != exact.key
    assert not np.array_equal(near.states, exact.states)
    assert np.corrcoef(near.states.ravel(), exact.states.ravel())[0, 1] > 0.98
    assert backbone.state_hash() == before
    few = backbone.encode(TEXTS[2:4], max_length=20, precision=precision)
    np.testing.assert_allclose(few.states, near.states[2:4], atol=0.02)


def test_in_int8_a_text_does_not_depend_on_its_batch(backbone: Backbone) -> None:
    together = backbone.encode(TEXTS, max_length=20, precision="int8").states
    alone = backbone.encode(TEXTS[4:5], max_length=20, precision="int8").states
    np.testing.assert_array_equal(alone[0], together[4])


def test_an_unknown_precision_is_refused(backbone: Backbone) -> None:
    with pytest.raises(BadRequestError, match='unknown precision "int4"'):
        backbone.encode(TEXTS, max_length=20, precision="int4")
