"""Qwen2.5-VL (Bai et al., 2025): a model that sees and reads, through transformers with our own preprocessing.

# B batch, T tokens, G videos of a batch
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from evqa.errors import ConfigError
from evqa.media.clip import ClipSpec
from evqa.models.base import BuildOptions, Preparer
from evqa.models.hub import find_checkpoint, read_config, read_tokenizer
from evqa.models.patches import Patches, collate_patches
from evqa.models.positions import collate_positions, rotary_positions
from evqa.models.pretrained import Kind, PretrainedModel
from evqa.prompts.chat import Chat
from evqa.prompts.prompt import Prompt
from evqa.types import Answer, Clip, Part, Prepared, Record


class Qwen2_5_VLPreparer(Preparer):  # noqa: N801 (Qwen's own spelling)
    """Frames as patches, then the question; time comes from the frames' own stamps."""

    def __init__(
        self,
        clip: ClipSpec,
        *,
        chat: Chat,
        prompt: Prompt,
        patches: Patches,
        config: Any,
        seconds_per_grid: float | None,
    ) -> None:
        self.clip, self.chat, self.prompt, self.patches = clip, chat, prompt, patches
        self.seconds_per_grid = seconds_per_grid
        self._start, self._end = chat.token("<|vision_start|>"), chat.token("<|vision_end|>")
        self._video = chat.token("<|video_pad|>", configured=config.video_token_id)
        self._times_per_second = config.vision_config.tokens_per_second

    def prepare(self, record: Record, clip: Clip, answer: Answer) -> Prepared:
        """Write one conversation; a clip without frames yields no picture tokens."""
        seen: Prepared = {}
        media: list[int] = []
        if clip.frames_FHWC is not None:
            seen = self.patches.prepare(clip, seconds_per_grid=self.seconds_per_grid)
            media = [self._start, *[self._video] * self.patches.num_tokens(seen["grid_3"]), self._end]
        words = self.chat.write(media, self.prompt.text(record), answer)
        position_T3 = rotary_positions(
            words["input_ids_T"],
            video=self._video,
            grids=[self.patches.token_grid(seen["grid_3"])] if seen else [],
            seconds_per_step=seen.get("seconds_per_grid", 0.0),
            times_per_second=self._times_per_second,
        )
        return words | seen | {"position_T3": position_T3}

    def collate(self, items: Sequence[Prepared]) -> dict[str, Tensor]:
        """Pad text on the right; patches of all samples lie in one row."""
        if not items:
            raise ValueError("cannot collate an empty list of samples")
        return self.chat.collate(items) | collate_positions(items) | collate_patches(items)


class Qwen2_5_VL(PretrainedModel):  # noqa: N801
    """Qwen2.5-VL with or without its LM head.

    checkpoint: a folder or a hub name; revision pins a hub name. min_pixels / max_pixels: area of one frame after
        resizing. exact_pixels: resize with the filter of LMM-EVQA's code instead of today's processor's.
    seconds_per_grid: time that two frames span; null takes it from the frames' time stamps, 1.0 is what LMM-EVQA's
        code always passes. special_text: see `Chat`. prompt: replaces the run's own.
    """

    modalities: ClassVar[tuple[str, ...]] = ("v",)

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str = "Qwen/Qwen2.5-VL-7B-Instruct",
        revision: str | None = "cc594898137f460bfe9f0759e9844b3ce807cfb5",
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa",
        gradient_checkpointing: bool = False,
        min_pixels: Annotated[int, "1 <= min_pixels"] = 128 * 28 * 28,
        max_pixels: Annotated[int, "1 <= max_pixels"] = 768 * 28 * 28,
        exact_pixels: bool = False,
        seconds_per_grid: Annotated[float, "0 < seconds_per_grid"] | None = None,
        system: str | None = "You are a helpful assistant.",
        special_text: Literal["plain", "parsed"] = "plain",
        prompt: Prompt | None = None,
    ) -> None:
        from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLModel

        if options.audio is not None:
            raise ConfigError(
                ["modal: qwen2_5_vl has no audio encoder; use modal=v, or a model with one (qwen2_5_omni)."]
            )
        found = find_checkpoint(checkpoint, revision=revision, weights=options.load)
        config = read_config(found, model_type="qwen2_5_vl")
        tokenizer = read_tokenizer(found, vocab_size=config.get_text_config().vocab_size)
        chat = Chat(tokenizer, name=checkpoint, system=system, special_text=special_text)
        kind = Kind(body=Qwen2_5_VLModel, full=Qwen2_5_VLForConditionalGeneration)
        super().__init__(kind, config, found, chat, options=options)
        self.patches = Patches.of(config.vision_config)
        self.preparer = Qwen2_5_VLPreparer(
            ClipSpec(frames=options.frames, resize=self.patches.resize(min_pixels, max_pixels, exact=exact_pixels)),
            chat=chat,
            prompt=prompt or options.prompt,
            patches=self.patches,
            config=config,
            seconds_per_grid=seconds_per_grid,
        )
        unused = () if options.frames else ("visual",)
        self.load(dtype=dtype, attention=attention, gradient_checkpointing=gradient_checkpointing, unused=unused)

    def media(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        """Name the pictures."""
        return self.patches.media(inputs)

    def media_tokens(self) -> dict[str, int]:
        """Estimate the tokens of one clip."""
        frames = self.preparer.clip.frames
        picture = self.patches.tokens_of_clip(frames.count, self.preparer.clip.resize) if frames else 0
        return {"picture": picture}

    def idle_media(self, inputs: dict[str, Tensor]) -> Tensor | None:
        """Look at one black token where the batch has no pictures."""
        if self.body.visual is None or "patches_NP" in inputs:
            return None
        return self.patches.black_token(self.body, inputs["input_ids_BT"].device)

    def parts(self) -> tuple[Part, ...]:
        """Vision tower, its merger, language model, LM head."""
        vision = Part(
            name="vision",
            prefixes=("body.visual.patch_embed", "body.visual.blocks"),
            linear_names=("qkv", "proj", "gate_proj", "up_proj", "down_proj"),
        )
        connector = Part(name="connector", prefixes=("body.visual.merger",))
        vision_parts = () if self.body.visual is None else (vision, connector)
        return vision_parts + self.language_parts()
