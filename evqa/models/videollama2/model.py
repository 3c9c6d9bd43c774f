"""VideoLLaMA2.1-AV (Cheng et al., 2024) as LMM-EVQA scores with it (Sun et al., ICCV workshops 2025).

SigLIP -> STC connector, BEATs -> projector, both spliced into a Qwen2 chat. The last hidden states go to a head.

# B batch, N items of all samples in a row, F frames, P patches, C channels, H height, W width, R filter-bank rows,
# M mel bins, T tokens, D width, V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from evqa.media.fbank import MEL_BINS
from evqa.media.resize import Resize
from evqa.media.spec import ClipSpec, FrameStream
from evqa.models.base import BuildOptions
from evqa.models.license import License
from evqa.models.pixels import normalise
from evqa.models.recomputation import Recompute
from evqa.models.source import find_source
from evqa.models.splice import PLACEHOLDER, Spliced, splice, texts_of
from evqa.models.spliced import SplicedModel
from evqa.models.videollama2 import build, encoders, export
from evqa.models.videollama2.beats import Beats
from evqa.models.videollama2.connector import Connector
from evqa.models.videollama2.layout import key_adapter
from evqa.models.videollama2.preparer import Videollama2Preparer, check_pairs
from evqa.models.videollama2.source import FAMILY, build_chat
from evqa.models.videollama2.towers import AttentionName, VisionTower, make_rotary_buffers
from evqa.models.weights import read_head
from evqa.prompts.defaults import ENGAGEMENT
from evqa.prompts.templates import PLACE
from evqa.types import MEDIA, Inputs, Part, Turn

if TYPE_CHECKING:
    from transformers import Qwen2Model

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Videollama2(SplicedModel):
    """SigLIP, STC connector, BEATs, audio projector and Qwen2; parts that the build options leave out are not built.

    checkpoint: folder in the published layout, or a hub id together with a pinned revision; null builds random
        weights of the given size (published: 7B; tiny: for tests and demonstrations).
    exact: the original's function, faults included (docs/videollama2.md): 30 s of bfloat16-rounded sound with all of
        its tokens, silence for a missing sound, `<|im_end|>` in a title read as a control token, text cut at its end,
        odd last frame dropped, no gradient to the vision tower. Otherwise tokens stand for real sound only, titles
        are plain text, and an odd last frame is repeated.
    resize: how frames become square; LMM-EVQA squashes them, VideoLLaMA2 itself was trained with grey bars (pad).
    max_text_tokens: longest text before the media tokens are put in; null takes the checkpoint's.
    init_seed: of random weights, which depend on nothing else.
    recompute, recompute_media: see `Model.recompute_activations`.
    """

    modalities: ClassVar[tuple[str, ...]] = ("a", "v", "av")
    generates: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 5e-5  # the paper's
    preparer: Videollama2Preparer
    language: Qwen2Model
    vision_tower: VisionTower | None
    mm_projector: Connector | None
    audio_tower: Beats | None
    mm_projector_a: nn.Sequential | None
    lm_head: nn.Linear | None

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str | None = None,
        revision: str | None = None,
        size: Literal["published", "tiny"] | None = None,
        init_seed: Annotated[int, "0 <= init_seed"] = 0,
        dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
        attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa",
        recompute: Recompute = 1.0,
        recompute_media: bool = True,
        exact: bool = False,
        resize: Literal["square", "pad"] = "square",
        max_text_tokens: Annotated[int, "1 <= max_text_tokens"] | None = None,
        license: License | None = None,
    ) -> None:
        super().__init__()
        self.source = find_source(FAMILY, checkpoint, revision, size, load=options.load)
        self.dims, self.license = self.source.dims, license
        self.exact = exact
        self.hide_padding = options.hide_padding
        self.width = self.dims.language.hidden_size
        self.key_adapter = key_adapter(self.dims)
        self._build(options, seed=init_seed, dtype=getattr(torch, dtype), attention=attention)
        self.recompute_activations(recompute, media=recompute_media)
        check_pairs(options.frames, self.dims, exact=exact)
        self.chat = build_chat(self.source, exact=exact, max_text_tokens=max_text_tokens or self.dims.max_text_tokens)
        spec = ClipSpec(
            frames=FrameStream.of(
                options.frames, resize=Resize(mode=resize, size=self.dims.vision.image_size, exact=exact)
            ),
            audio=options.audio,
            audio_as="fbank",
        )
        self.preparer = Videollama2Preparer(
            spec,
            chat=self.chat,
            row_step=self.dims.beats.input_patch_size,
            needs_pairs=self.dims.connector_padding == 0,
            exact=exact,
        )

    # ---- building

    def _build(self, options: BuildOptions, *, seed: int, dtype: torch.dtype, attention: AttentionName) -> None:
        """Lay out all parts, keep those that are asked for, and give them weights; one that counts only gets none."""
        parts = build.build_parts(self.dims, attention=attention)
        wanted = {"vision_tower": options.frames, "mm_projector": options.frames, "audio_tower": options.audio,
                  "mm_projector_a": options.audio, "language": True, "lm_head": options.logits}  # fmt: skip
        for name, part in parts.items():
            setattr(self, name, part if wanted[name] else None)
        self.to(dtype)
        complete, device = parts.state_dict().keys(), options.device
        options.give_weights(
            partial(build.give_weights, self, self.source, complete=complete, seed=seed, device=device)
        )
        if self.vision_tower is not None:
            self.vision_tower.requires_grad_(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast everything but the rotary frequencies, whose precision decides how positions are told apart."""
        super()._apply(fn, recurse)
        frequencies = self.language.rotary_emb.inv_freq
        if frequencies.dtype != torch.float32 and not frequencies.is_meta:
            with frequencies.device:
                make_rotary_buffers(self.language)
        return self

    def head_state(self) -> dict[str, Tensor]:
        """Read the regression head of a fine-tuned checkpoint; LMM-EVQA's predicts on the scale 0-100."""
        checkpoint = self.source.checkpoint
        return {} if checkpoint is None else read_head(checkpoint, self.key_adapter, width=self.width)

    def export(self, folder: Path, *, head_state: Mapping[str, Tensor]) -> None:
        """Write the published layout, a regression head included (on its scale of 0-100)."""
        settings = export.run_settings(self.preparer.clip, self.chat)
        export.export(self, folder, self.source, head_state=head_state, settings=settings)

    def published_class(self) -> str:
        """Name the original's class."""
        return "Videollama2Qwen2ForCausalLM"

    def how_to_load(self) -> str:
        """Say what a merged folder gives in other hands, and what it does not."""
        return export.how_to_load(self.source, has_vision=self.vision_tower is not None, exact=self.exact)

    def parts(self) -> tuple[Part, ...]:
        """The parts that are built; LoRA may adapt the language model."""
        every = (
            Part(name="vision", prefixes=("vision_tower",)),
            Part(name="connector", prefixes=("mm_projector",)),
            Part(name="audio", prefixes=("audio_tower",)),
            Part(name="audio_connector", prefixes=("mm_projector_a",)),
            Part(name="language", prefixes=("language",), linear_names=PROJECTIONS),
            Part(name="lm_head", prefixes=("lm_head",)),
        )
        return tuple(part for part in every if getattr(self, part.prefixes[0]) is not None)

    def frozen_parts(self) -> tuple[str, ...]:
        """The vision tower, as in the paper (its forward runs without gradients there)."""
        return ("vision",) if self.vision_tower is not None else ()

    def tokens_per_sample(self) -> dict[str, int]:
        """Count the tokens of a sample with full-length picture and sound, by modality.

        Text is that of the engagement question, without title and description.
        """
        preparer, patch = self.preparer, self.dims.beats.input_patch_size
        question = ENGAGEMENT.question.replace(PLACE, MEDIA)
        turns = (Turn(role="user", text=question), Turn(role="assistant", text=ENGAGEMENT.answer))
        words = self.chat.encode(turns, [[PLACEHOLDER]])
        counts = {"text": (len(words.ids) - 1) // self.source.bytes_per_token}
        if preparer.clip.frames is not None and self.mm_projector is not None:
            num_frames = preparer.num_frames(preparer.clip.frames.sampling.usual_count)
            counts["picture"] = self.mm_projector.num_tokens(num_frames, self.dims.vision.num_patches)
        if preparer.clip.audio is not None:
            counts["sound"] = preparer.longest_rows() // patch * (MEL_BINS // patch)
        return counts

    # ---- running

    @property
    def trunk(self) -> Any:
        """The language model without its LM head."""
        return self.language

    def sequence(self, inputs: Inputs) -> Spliced:
        """Embed whole samples: text, with the picture tokens and then the sound tokens of a file in its place."""
        texts = texts_of(inputs)
        files = iter(zip(self._pictures(inputs), self._sounds(inputs), strict=True))
        media = [[self._joined(*next(files)) for _ in places] for places in texts.places]
        return splice(self.language.embed_tokens(texts.ids_BT), texts, media)

    def _joined(self, *tokens: Tensor | None) -> Tensor:
        return torch.cat([one for one in tokens if one is not None] or [self._no_tokens()])

    def encode_frames(self, pixels_NCHW: Tensor, num_frames: list[int]) -> list[Tensor]:
        """Map normalised frames of all samples in a row to the tokens of each; see `encoders.encode_frames`."""
        assert self.vision_tower is not None
        assert self.mm_projector is not None
        learn = not self.exact and any(parameter.requires_grad for parameter in self.vision_tower.parameters())
        return encoders.encode_frames(self.vision_tower, self.mm_projector, pixels_NCHW, num_frames, learn=learn)

    def encode_audio(self, fbank_NRM: Tensor, num_rows: list[int]) -> list[Tensor]:
        """Map filter banks of all samples to the tokens of each; see `encoders.encode_audio`."""
        assert self.audio_tower is not None
        assert self.mm_projector_a is not None
        return encoders.encode_audio(self.audio_tower, self.mm_projector_a, fbank_NRM, num_rows)

    def _pictures(self, inputs: Inputs) -> list[Tensor | None]:
        counts = inputs.host["num_frames"]
        if self.vision_tower is None:
            return [None] * len(counts)
        if "frames_NHWC" in inputs:
            return encoders.spread(self.encode_frames, normalise(inputs["frames_NHWC"]), counts)
        vision = self.dims.vision
        return [
            self._idle(self.encode_frames, (2, vision.num_channels, vision.image_size, vision.image_size), 2)
        ] * len(counts)

    def _sounds(self, inputs: Inputs) -> list[Tensor | None]:
        counts = inputs.host["num_rows"]
        if self.audio_tower is None:
            return [None] * len(counts)
        if "fbank_NRM" in inputs:
            return encoders.spread(self.encode_audio, inputs["fbank_NRM"], counts)
        rows = self.dims.beats.input_patch_size
        return [self._idle(self.encode_audio, (1, rows, MEL_BINS), rows)] * len(counts)

    def _idle(self, encode: encoders.Encode, shape: tuple[int, ...], count: int) -> Tensor | None:
        """No tokens; in distributed training they carry a zero gradient, so that every process visits every part."""
        if not (self.training and torch.distributed.is_available() and torch.distributed.is_initialized()):
            return None
        return encode(torch.zeros(shape, device=self._no_tokens().device), [count])[0][:0]
