"""Where a model comes from: a checkpoint with its sizes and tokenizer, or random weights of a stated size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from evqa.errors import ConfigError
from evqa.models.safety import about, mention_code
from evqa.models.videollama2.chat import embedded_tokenizer, load_tokenizer
from evqa.models.videollama2.checkpoint import CheckpointFolder, locate
from evqa.models.videollama2.dims import PUBLISHED, TINY, Dims, read_dims


@dataclass(frozen=True)
class Source:
    """Sizes, tokenizer and name; folder: where weights are read from, None for random ones.

    bytes_per_token: for counting with the byte tokenizer in place of one that is not at hand.
    """

    name: str
    dims: Dims
    tokenizer: Tokenizer
    folder: Path | None = None
    bytes_per_token: int = 1


def find_source(
    checkpoint: str | None, revision: str | None, size: Literal["published", "tiny"] | None, *, load: bool
) -> Source:
    """Find the checkpoint's folder, or the sizes of random weights. Without `load` nothing is downloaded.

    Raises:
        ConfigError: not exactly one of `checkpoint` and `size` is given.
        CheckpointError: the checkpoint is not there or cannot be used.
    """
    if (checkpoint is None) == (size is None):
        given = f"model.checkpoint={checkpoint}, model.size={size}: "
        rule = "give one of them, a folder or hub id of VideoLLaMA2.1-7B-AV, or published/tiny for random weights"
        raise ConfigError([given + rule])
    if checkpoint is None:
        return Source("random weights", TINY if size == "tiny" else PUBLISHED, embedded_tokenizer())
    is_local = Path(checkpoint).expanduser().is_dir()
    name = checkpoint if revision is None or is_local else f"{checkpoint}@{revision}"
    if not load and not is_local:
        return Source(name, PUBLISHED, embedded_tokenizer(), bytes_per_token=4)
    folder = locate(checkpoint, revision=revision)
    dims = read_dims(folder, num_tensors=CheckpointFolder(folder).num_tensors() if load else None)
    with about():
        mention_code(folder, name=checkpoint, kind="VideoLLaMA2")
    return Source(name, dims, load_tokenizer(folder, vocab_size=dims.language.vocab_size), folder)
