"""Where a model comes from: a checkpoint with its sizes and tokenizer, or random weights of a stated size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from tokenizers import Tokenizer

from evqa.errors import ConfigError
from evqa.models.base import RANDOM_WEIGHTS
from evqa.models.hub import Checkpoint, find_checkpoint
from evqa.models.qwen2_tokenizer import embedded_tokenizer, load_tokenizer
from evqa.models.sizes import LanguageDims


class HasLanguage(Protocol):
    """All sizes of a model whose language model is Qwen2."""

    @property
    def language(self) -> LanguageDims:
        """Sizes of the language model."""
        ...


D = TypeVar("D", bound=HasLanguage)


@dataclass(frozen=True, kw_only=True)
class Family(Generic[D]):
    """The models of one structure.

    name: of the published checkpoint, for messages. published, tiny: sizes of random weights. read: the sizes of a
    checkpoint. also: patterns of weight files that a hub repository may hold beside safetensors.
    """

    name: str
    published: D
    tiny: D
    read: Callable[[Checkpoint], D]
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source(Generic[D]):
    """Sizes and tokenizer; checkpoint: where weights are read from, None for random ones.

    bytes_per_token: for counting with the byte tokenizer in place of one that is not at hand.
    """

    dims: D
    tokenizer: Tokenizer
    checkpoint: Checkpoint | None = None
    bytes_per_token: int = 1

    @property
    def name(self) -> str:
        """Name and revision for a run's records."""
        return RANDOM_WEIGHTS if self.checkpoint is None else self.checkpoint.label


def find_source(
    family: Family[D],
    checkpoint: str | None,
    revision: str | None,
    size: Literal["published", "tiny"] | None,
    *,
    load: bool,
) -> Source[D]:
    """Find the checkpoint, or the sizes of random weights. Without `load` nothing is downloaded.

    Raises:
        ConfigError: not exactly one of `checkpoint` and `size` is given.
        CheckpointError: the checkpoint is not there or cannot be used.
    """
    if (checkpoint is None) == (size is None):
        given = f"model.checkpoint={checkpoint}, model.size={size}: "
        rule = f"give one of them, a folder or hub id of {family.name}, or published/tiny for random weights"
        raise ConfigError([given + rule])
    if checkpoint is None:
        return Source(family.tiny if size == "tiny" else family.published, embedded_tokenizer())
    found = find_checkpoint(checkpoint, revision=revision, weights=load, sizes_known=True, also=family.also)
    dims = family.read(found)
    if found.on_paper:
        return Source(dims, embedded_tokenizer(), found, bytes_per_token=4)
    return Source(dims, load_tokenizer(found.folder, vocab_size=dims.language.vocab_size), found)
