"""The interface that every model implements: prepare and collate on the CPU side, forward on the device.

# B batch, T tokens, D width
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.media.spec import ClipSpec
from evqa.models.exporting import entries_of, write_weights
from evqa.models.key_adapter import KeyAdapter
from evqa.models.license import License
from evqa.models.recomputation import Recompute, num_recomputed, recompute_beside, recompute_first
from evqa.prompts.chat import ChatFormat
from evqa.prompts.decoding import Decoding
from evqa.types import Clip, Inputs, Output, Part, Prepared, Turn

RANDOM_WEIGHTS = "random weights"  # in place of a base's name
PARTS = ("vision", "connector", "audio", "audio_connector", "language", "lm_head")  # that recipes name


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Build options derived from the other groups; passed as the model's first argument.

    frames / audio: None builds no vision / no audio encoder. logits: whether the head reads logits (builds an LM head).
    hide_padding: whether attention hides padded positions. Padding lies on the right, so that no real position ever
        sees any in a causal model; only a head that reads padded positions too can tell the difference.
    load: false builds the structure on the meta device and reads no weights (the cost card of a dry run).
    device: where weights are put as they are read, one at a time.
    later: where there is a list, what reads the weights is put there, for whoever first shards the empty model.
    """

    frames: FrameSampling | None
    audio: AudioWindow | None
    logits: bool = False
    hide_padding: bool = False
    load: bool = True
    device: str = "cpu"
    later: list[Callable[[], None]] | None = None

    def give_weights(self, read: Callable[[], None]) -> None:
        """Let a model that was laid out read its weights now, later or never."""
        if self.load and self.later is not None:
            self.later.append(read)
        elif self.load:
            read()


class Preparer(ABC):
    """The CPU side of a model: small, picklable, without weights; worker processes hold a copy.

    clip: what to read from a media file for this model (frames, resizing, audio window). chat: its conversations.
    """

    clip: ClipSpec
    chat: ChatFormat

    @abstractmethod
    def prepare(self, turns: Sequence[Turn], clips: Sequence[Clip]) -> Prepared:
        """Turn a conversation and its files into the model's inputs. A missing picture or sound yields no tokens.

        Raises:
            PromptError: the conversation does not fit the media.
        """

    @abstractmethod
    def collate(self, items: Sequence[Prepared]) -> Inputs:
        """Stack samples with what tells real positions from padding. Raises ValueError for an empty list."""


class Model(nn.Module, ABC):
    """A multimodal model that maps a batch to hidden states (and, where built, logits).

    The class attributes are read without importing the module (they must be literals), so that an impossible
    combination is reported before anything heavy is loaded. The first positional argument of every constructor is a
    `BuildOptions`; all others are keyword-only and come from the model's YAML.
    """

    modalities: ClassVar[tuple[str, ...]] = ("a", "v", "av")
    generates: ClassVar[bool] = True  # has logits, so the heads `levels` and `text` work
    learning_rate: ClassVar[float] = 2e-5  # where a recipe names none
    reads_questions: ClassVar[bool] = True  # otherwise the default prompt is the texts alone
    max_files: ClassVar[int] = 1  # media files of a record
    places_per_file: ClassVar[tuple[int, ...]] = (1,)  # how many places for media a question may have for each file
    reads_images: ClassVar[bool] = False  # still images as such (`ClipSpec.image`), not as videos of one frame
    # Names of the parts that a model of this class may have; recipes may name any that some model has.
    part_names: ClassVar[tuple[str, ...]] = PARTS
    preparer: Preparer
    width: int  # D
    key_adapter: KeyAdapter = KeyAdapter()  # our names of the weights are the files'
    license: License | None = None  # of the weights that it was built from
    recompute: Recompute = 0.0  # as the configuration has it; of layers, `num_recomputed` says what is set
    recompute_media: bool = False
    num_recomputed: int = 0

    @abstractmethod
    def forward(self, inputs: Inputs) -> Output:
        """Run the model on collated inputs."""

    @abstractmethod
    def generate(self, inputs: Inputs, decoding: Decoding) -> Iterator[list[str]]:
        """Continue every sample behind its `answer` position; targets in the inputs are not read.

        Yields the next piece of text of every sample (empty where one has ended) until all have ended. An answer does
        not depend on its batch neighbours; one that is drawn depends on `decoding.seed`. Encoders and trunk run once
        over the inputs. Raises ConfigError where the model was built without an LM head.
        """

    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """The parts that exist in this instance (unused towers are not built and do not appear)."""

    def blocks(self) -> dict[str, tuple[nn.Module, ...]]:
        """Return the repeated layers of every part that has some, in order: what is recomputed, compiled or sharded.

        A list of modules is taken for layers, one inside of another for a detail of a layer.
        """
        found: dict[str, list[nn.Module]] = {}
        for part in self.parts():
            for prefix in part.prefixes:
                if isinstance(below := _below(self, prefix), nn.Module):
                    found.setdefault(part.name, []).extend(_layers_of(below))
        return {name: tuple(layers) for name, layers in found.items() if layers}

    def recompute_activations(self, share: Recompute, *, media: bool) -> None:
        """Set which activations are computed again in the backward pass instead of being kept.

        share: of the language model's layers; `auto` is none until a training chooses (`recompute_layers`).
        media: encoders and connectors, where they learn.
        """
        self.recompute, self.recompute_media = share, media
        layers = self.blocks().get("language", ())
        recompute_beside(self, layers, wanted=media)
        self.recompute_layers(0 if share == "auto" else num_recomputed(share, len(layers)))

    def recompute_layers(self, count: int) -> None:
        """Recompute the first `count` layers of the language model: the backward pass comes to them last.

        What the other layers kept is free by then, and makes room for a layer that is computed anew.
        """
        self.num_recomputed = count
        recompute_first(self.blocks().get("language", ()), count)

    def frozen_parts(self) -> tuple[str, ...]:
        """Names of the parts that are not trained unless a recipe asks for them."""
        return ()

    def tokens_per_sample(self) -> dict[str, int]:
        """Count the tokens of a sample of usual length, by kind (`text`, `picture`, `sound`, ...)."""
        raise NotImplementedError

    def head_state(self) -> dict[str, torch.Tensor]:
        """Weights of a regression head (`fc1.*`, `fc2.*`) that came with the checkpoint, on a scale of 0-100."""
        return {}

    def base_name(self) -> str:
        """Name the frozen base (checkpoint and revision) for the run's records; a random model has none."""
        return RANDOM_WEIGHTS

    def published_class(self) -> str | None:
        """Name the class that others load a merged folder with; None where only evqa knows it."""
        return None

    def how_to_load(self) -> str:
        """Say in a model card what a merged folder gives, in evqa's and in other hands."""
        return f"`model.safetensors` is a state dict of `{type(self).__module__}.{type(self).__qualname__}`."

    def is_published(self, name: str) -> bool:
        """Whether a weight was read from the published base, so that `base_name` gives it again.

        A run's checkpoints hold all other weights, trained or frozen; of a random model that is every one.
        """
        del name
        return False

    def export(self, folder: Path, *, head_state: Mapping[str, torch.Tensor]) -> None:
        """Write all weights to a folder as others load them; adapters must be merged before.

        head_state: a regression head (`fc1.*`, `fc2.*`, on a scale of 0-100; else empty), for layouts that have a
        place for it.
        """
        del head_state
        write_weights(entries_of(self, self.key_adapter), folder, self.key_adapter)


def _below(model: nn.Module, name: str) -> object:
    """Return what has a name below the model: a module, or a single weight."""
    parent, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(parent), leaf)


def _layers_of(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.ModuleList):
        yield from module
    else:
        for child in module.children():
            yield from _layers_of(child)
