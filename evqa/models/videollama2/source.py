"""Where a model comes from: a checkpoint with its sizes and tokenizer, or random weights of a stated size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

from evqa.errors import ConfigError
from evqa.models.base import RANDOM_WEIGHTS
from evqa.models.hub import Checkpoint, find_checkpoint
from evqa.models.videollama2.chat import PAD, SYSTEM, embedded_tokenizer, load_tokenizer
from evqa.models.videollama2.dims import PUBLISHED, TINY, Dims, read_dims
from evqa.models.videollama2.layout import SIDE_FILES
from evqa.prompts.chat import Chat

PICKLED = (*SIDE_FILES, "pytorch_model*.bin*")  # what a hub repository may hold beside safetensors


@dataclass(frozen=True)
class Source:
    """Sizes and tokenizer; checkpoint: where weights are read from, None for random ones.

    bytes_per_token: for counting with the byte tokenizer in place of one that is not at hand.
    """

    dims: Dims
    tokenizer: Tokenizer
    checkpoint: Checkpoint | None = None
    bytes_per_token: int = 1

    @property
    def name(self) -> str:
        """Name and revision for a run's records."""
        return RANDOM_WEIGHTS if self.checkpoint is None else self.checkpoint.label


def find_source(
    checkpoint: str | None, revision: str | None, size: Literal["published", "tiny"] | None, *, load: bool
) -> Source:
    """Find the checkpoint, or the sizes of random weights. Without `load` nothing is downloaded.

    Raises:
        ConfigError: not exactly one of `checkpoint` and `size` is given.
        CheckpointError: the checkpoint is not there or cannot be used.
    """
    if (checkpoint is None) == (size is None):
        given = f"model.checkpoint={checkpoint}, model.size={size}: "
        rule = "give one of them, a folder or hub id of VideoLLaMA2.1-7B-AV, or published/tiny for random weights"
        raise ConfigError([given + rule])
    if checkpoint is None:
        return Source(TINY if size == "tiny" else PUBLISHED, embedded_tokenizer())
    found = find_checkpoint(checkpoint, revision=revision, weights=load, sizes_known=True, also=PICKLED)
    dims = read_dims(found)
    if found.on_paper:
        return Source(dims, embedded_tokenizer(), found, bytes_per_token=4)
    return Source(dims, load_tokenizer(found.folder, vocab_size=dims.language.vocab_size), found)


def build_chat(source: Source, *, exact: bool, max_text_tokens: int) -> Chat:
    """Make the conversation's format, which is Qwen2's; exact: with the original's faults."""
    return Chat(
        source.tokenizer,
        name=source.name,
        pad=source.tokenizer.token_to_id(PAD),
        system=SYSTEM,
        special_text="parsed" if exact else "plain",
        after_media="\n",
        closes=True,
        max_text_tokens=max_text_tokens,
        cuts_tail=exact,
        is_stand_in=source.bytes_per_token > 1,
    )
