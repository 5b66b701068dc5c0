"""The shared pretrained encoder, and the cached states of texts at the cut.

Nothing here ever changes the encoder: states are computed without gradients, on a view of the
layers below the cut. Cache keys come from the files alone, so that cached states are found without
importing torch or reading the weights into memory.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto_rec.backbone.encoders import (
    BACKBONES,
    DEFAULT,
    TOKENIZER_FILES,
    find_encoder,
    read_config,
    unreadable,
)
from pareto_rec.backbone.features import (
    Features,
    Recipe,
    RowArray,
    TokenIds,
    digest,
    equal_lengths,
    find,
    keep_all,
    token_ids,
)
from pareto_rec.backbone.views import PRECISIONS, at_precision, placed, quiet, truncated
from pareto_rec.core.errors import BadRequestError, unknown
from pareto_rec.core.paths import file_sha256

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["BACKBONES", "DEFAULT", "Backbone", "Features", "Progress"]

DTYPES = ("float32", "float16")
# Keys of config.json that say nothing of the network.
_IRRELEVANT = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype"})

Progress = Callable[[int, int, float], None]
"""Called with texts done, texts in all, and texts per second so far."""


@dataclass(frozen=True)
class Reading:
    """Settings for encoding texts.

    Attributes:
        max_length: Tokens per text, special ones included.
        precision: Numbers that the encoder computes with.
        device: ``"auto"`` or a name that torch knows.
        batch_size: Texts per batch; one in int8.
    """

    max_length: int = 64
    precision: str = "float32"
    device: str = "auto"
    batch_size: int = 64


class Backbone:
    """A BERT-like encoder in a folder of files; torch and the weights are loaded at first use.

    Attributes:
        name: Requested name or folder.
        folder: Where its files are.
        cache: Root of the cache.
    """

    def __init__(self, name: str, folder: Path, cache: Path) -> None:
        self.name = name
        self.folder = folder
        self.cache = cache

    @classmethod
    def load(cls, name_or_folder: str | Path, cache: Path) -> Backbone:
        """Find an encoder (`backbone.encoders.find_encoder`); its weights stay on disk.

        Args:
            name_or_folder: A folder in the format of transformers, or a name on huggingface.co.
            cache: Root of the cache.

        Raises:
            BadRequestError: If there is no such encoder or it cannot be fetched.
        """
        return cls(str(name_or_folder), find_encoder(name_or_folder, cache), cache)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """What ``config.json`` says."""
        return read_config(self.folder)

    @property
    def n_layers(self) -> int:
        """Number of transformer layers."""
        return self._number("num_hidden_layers", "n_layers")

    @property
    def width(self) -> int:
        """Length of a state."""
        return self._number("hidden_size", "dim")

    def _number(self, *keys: str) -> int:
        for key in keys:
            if isinstance(self.config.get(key), int):
                return int(self.config[key])
        raise BadRequestError(
            f"{self.folder / 'config.json'} has no {keys[0]}: it is not a BERT-like encoder"
        )

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the weight files and what ``config.json`` says of the network."""
        return self._hash_of_weights(self.cache / "checksums")

    def _hash_of_weights(self, memo: Path | None) -> str:
        network = {k: v for k, v in self.config.items() if k not in _IRRELEVANT}
        files = [
            f"{path.name} {file_sha256(path, memo)}"
            for path in sorted(self.folder.glob("*.safetensors"))
        ]
        return digest(json.dumps(network, sort_keys=True), *files)

    @cached_property
    def tokenizer_hash(self) -> str:
        """SHA-256 over the files of the tokenizer."""
        paths = [self.folder / name for name in TOKENIZER_FILES]
        return digest(*(f"{path.name} {file_sha256(path)}" for path in paths if path.is_file()))

    @cached_property
    def model(self) -> PreTrainedModel:
        """The encoder in float32 on the CPU, in evaluation mode, without gradients.

        Raises:
            BadRequestError: If the files do not hold a readable encoder.
        """
        import transformers

        self._check_weights()
        try:
            with quiet():
                model: PreTrainedModel = transformers.AutoModel.from_pretrained(
                    self.folder, local_files_only=True, use_safetensors=True
                )
        except Exception as error:  # safetensors, JSON, shapes, unknown model types: no common base
            raise unreadable(self.folder, error) from error
        module: torch.nn.Module = model
        module.float().eval().requires_grad_(False)
        return model

    def _check_weights(self) -> None:
        """Read the weights once more where they are used: their checksum may be remembered.

        Raises:
            BadRequestError: If they have changed since.
        """
        if self.weights_hash != self._hash_of_weights(None):
            raise BadRequestError(
                f"the weights in {self.folder} have changed since their checksum was taken: the "
                f"disk may be failing; fetch them again, and remove {self.cache / 'checksums'}"
            )

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer.

        Raises:
            BadRequestError: If its files cannot be read.
        """
        import transformers

        try:
            with quiet():
                return transformers.AutoTokenizer.from_pretrained(
                    self.folder, local_files_only=True
                )
        except Exception as error:  # as for the model
            raise unreadable(self.folder, error) from error

    def state_hash(self) -> str:
        """Compute the SHA-256 of names, types, shapes and bytes of the weights in memory."""
        import torch

        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy())
        return digest.hexdigest()

    def below(self, cut: int) -> PreTrainedModel:
        """Return a view that runs the first `cut` layers; it shares the weights of the encoder."""
        if cut == self.n_layers:
            return self.model
        return truncated(self.model, self.n_layers, cut, self.folder)

    def encode(
        self,
        texts: Sequence[str],
        *,
        max_length: int = 64,
        cut: int | None = None,
        dtype: str = "float32",
        cache: Path | None = None,
        batch_size: int = 64,
        device: str = "auto",
        progress: Progress | None = None,
        precision: str = "float32",
    ) -> Features:
        """Return vectors of texts: the mean over all tokens of the states at the cut.

        Computed once, in batches of texts of equal length (so without padding), and kept on disk;
        the second call maps the file and needs neither torch nor the weights.

        Args:
            texts: At least one.
            max_length: Tokens per text, special ones included; what is longer is cut off.
            cut: Number of layers to run, from the bottom; None for all, 0 for the embeddings.
            dtype: How the vectors are stored, ``"float32"`` or ``"float16"``.
            cache: Root of the cache; None for the one of :meth:`load`.
            batch_size: Texts per batch; of no effect on the vectors beyond rounding.
            device: ``"auto"`` (a GPU where there is one) or a name that torch knows.
            progress: Called after every batch.
            precision: Numbers that the encoder computes with (`backbone.views.PRECISIONS`).

        Raises:
            BadRequestError: If an argument is out of range or the cache cannot be written.
            RunFailedError: If a state is not a finite number.
        """
        layers = self.n_layers if cut is None else cut
        reading = Reading(max_length, precision, device, batch_size)
        return self.encode_depths(texts, [layers], reading, dtype, cache, progress)[layers]

    def encode_depths(
        self,
        texts: Sequence[str],
        cuts: Sequence[int],
        reading: Reading,
        dtype: str = "float32",
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> dict[int, Features]:
        """Run :meth:`encode` at several cuts; those that are not on disk come from one pass.

        Raises:
            BadRequestError: If an argument is out of range or the cache cannot be written.
            RunFailedError: If a state is not a finite number.
        """
        for cut in cuts:
            self.check(texts, reading, cut, dtype)
        folder = (cache or self.cache) / "features"
        recipes = {cut: self.recipe(texts, reading, cut, dtype) for cut in sorted(set(cuts))}
        features = {cut: find(folder, recipe) for cut, recipe in recipes.items()}
        lacking = [cut for cut, states in features.items() if states is None]
        if lacking:
            batches = (
                (rows, [states[cut].float().mean(dim=1).cpu().numpy() for cut in lacking])
                for rows, states in self.token_states(texts, lacking, reading, progress)
            )
            note = {"backbone": self.name, "device": reading.device}
            computed = keep_all(folder, [recipes[cut] for cut in lacking], batches, note)
            features |= dict(zip(lacking, computed, strict=True))
        return {
            cut: Features(states, recipes[cut].key, cached=cut not in lacking)
            for cut, states in features.items()
            if states is not None
        }

    def recipe(
        self,
        texts: Sequence[str],
        reading: Reading,
        cut: int,
        dtype: str,
        rows: int | None = None,
        pooling: str = "mean",
    ) -> Recipe:
        """Return what states of texts depend on; `rows` of them, one per text unless given."""
        return Recipe(
            self.weights_hash,
            self.tokenizer_hash,
            digest(*texts),
            reading.max_length,
            cut,
            dtype,
            (len(texts) if rows is None else rows, self.width),
            pooling,
            reading.precision,
        )

    def check(self, texts: Sequence[str], reading: Reading, cut: int, dtype: str) -> None:
        """Refuse what this encoder cannot do.

        Raises:
            BadRequestError: If an argument is out of range or a name not known.
        """
        longest = int(self.config.get("max_position_embeddings", 1 << 30))
        bounds = {
            "number of texts": (len(texts), 1, 1 << 40),
            "max_length": (reading.max_length, 3, longest),
            "cut": (cut, 0, self.n_layers),
            "batch_size": (reading.batch_size, 1, 1 << 20),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise BadRequestError(
                    f"{name} = {value} is out of range for {self.name}: from {low} to {high}"
                )
        if dtype not in DTYPES:
            raise unknown("type of features", dtype, DTYPES)
        if reading.precision not in PRECISIONS:
            raise unknown("precision", reading.precision, PRECISIONS)

    def tokens(self, texts: Sequence[str], reading: Reading) -> TokenIds:
        """Tokenise texts, special tokens included, cut off where they are too long."""

        def tokenise(part: list[str]) -> list[list[int]]:
            encoding = self.tokenizer(
                part,
                truncation=True,
                max_length=reading.max_length,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
            ids: list[list[int]] = encoding["input_ids"]
            return ids

        return token_ids(texts, tokenise)

    def token_states(
        self,
        texts: Sequence[str],
        cuts: Sequence[int],
        reading: Reading,
        progress: Progress | None = None,
    ) -> Iterator[tuple[RowArray, dict[int, torch.Tensor]]]:
        """Yield states of all tokens in batches of texts of one length, so without padding.

        Yields:
            Row numbers of the texts ``[B]``, and by cut their states ``[B, length, width]``.
        """
        import torch

        tokens = self.tokens(texts, reading)
        encoder, torch_device = placed(
            at_precision(self.below(max(cuts)), reading.precision), reading.device
        )
        done, start = 0, time.perf_counter()
        size = 1 if reading.precision == "int8" else reading.batch_size
        for rows in equal_lengths(tokens.lengths, size):
            batch = torch.from_numpy(tokens.batch(rows)).to(torch_device)
            with torch.inference_mode():
                if len(cuts) == 1:
                    states = {cuts[0]: encoder(input_ids=batch).last_hidden_state}
                else:
                    hidden = encoder(input_ids=batch, output_hidden_states=True).hidden_states
                    states = {cut: hidden[cut] for cut in cuts}
            yield rows, states
            done += len(rows)
            if progress is not None:
                progress(done, len(texts), done / (time.perf_counter() - start))
