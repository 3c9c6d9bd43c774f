"""Qwen3-VL (Qwen team, 2025): as Qwen2.5-VL, but time is written into the text before every pair of frames.

# B batch, T tokens, G videos of a batch
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from evqa.errors import ConfigError
from evqa.media.clip import ClipSpec
from evqa.models.base import BuildOptions, Preparer
from evqa.models.hub import find_checkpoint, read_config, read_tokenizer
from evqa.models.patches import Patches, collate_patches
from evqa.models.positions import Grid, collate_positions, rotary_positions
from evqa.models.pretrained import Kind, PretrainedModel
from evqa.prompts.chat import Chat
from evqa.prompts.prompt import Prompt
from evqa.types import Answer, Clip, Part, Prepared, Record


class Qwen3VLPreparer(Preparer):
    """Every pair of frames stands behind its time in seconds, then the question."""

    def __init__(self, clip: ClipSpec, *, chat: Chat, prompt: Prompt, patches: Patches, config: Any) -> None:
        self.clip, self.chat, self.prompt, self.patches = clip, chat, prompt, patches
        self._start, self._end = chat.token("<|vision_start|>"), chat.token("<|vision_end|>")
        self._video = chat.token("<|video_pad|>", configured=config.video_token_id)

    def prepare(self, record: Record, clip: Clip, answer: Answer) -> Prepared:
        """Write one conversation; a clip without frames yields no picture tokens.

        The marks stand around every pair and not around the whole video: so the model was trained (transformers 4.57);
        transformers 5 leaves one more mark at either end (vllm-project/vllm#46817).
        """
        seen: Prepared = {}
        media: list[int] = []
        grids: list[Grid] = []
        if clip.frames_FHWC is not None:
            seen = self.patches.prepare(clip, seconds_per_grid=None)
            time, rows, columns = self.patches.token_grid(seen["grid_3"])
            grids = [(1, rows, columns)] * time  # every pair is a picture of its own; its time is in the text
            frames = [self._video] * (rows * columns)
            for seconds in self._times(clip):
                media += [*self.chat.plain(f"<{seconds:.1f} seconds>"), self._start, *frames, self._end]
        words = self.chat.write(media, self.prompt.text(record), answer)
        position_T3 = rotary_positions(words["input_ids_T"], video=self._video, grids=grids)
        return words | seen | {"position_T3": position_T3}

    def collate(self, items: Sequence[Prepared]) -> dict[str, Tensor]:
        """Pad text on the right; patches of all samples lie in one row."""
        if not items:
            raise ValueError("cannot collate an empty list of samples")
        return self.chat.collate(items) | collate_positions(items) | collate_patches(items)

    def _times(self, clip: Clip) -> list[float]:
        """Return the middle of the first and last frame of every grid step, in seconds."""
        assert clip.frames_FHWC is not None
        known = clip.seconds_F is not None
        seconds = clip.seconds_F.tolist() if known else [float(i) for i in range(len(clip.frames_FHWC))]  # type: ignore[union-attr]
        step = self.patches.temporal
        seconds += seconds[-1:] * (-len(seconds) % step)
        return [(seconds[i] + seconds[i + step - 1]) / 2 for i in range(0, len(seconds), step)]


class Qwen3VL(PretrainedModel):
    """Qwen3-VL with or without its LM head; the arguments are those of `Qwen2_5_VL`."""

    modalities: ClassVar[tuple[str, ...]] = ("v",)

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str = "Qwen/Qwen3-VL-4B-Instruct",
        revision: str | None = "ebb281ec70b05090aa6165b016eac8ec08e71b17",
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa",
        gradient_checkpointing: bool = False,
        min_pixels: Annotated[int, "1 <= min_pixels"] = 128 * 32 * 32,
        max_pixels: Annotated[int, "1 <= max_pixels"] = 768 * 32 * 32,
        system: str | None = None,
        special_text: Literal["plain", "parsed"] = "plain",
        prompt: Prompt | None = None,
    ) -> None:
        from transformers import Qwen3VLForConditionalGeneration, Qwen3VLModel

        if options.audio is not None:
            raise ConfigError(
                ["modal: qwen3_vl has no audio encoder; use modal=v, or a model with one (qwen2_5_omni)."]
            )
        found = find_checkpoint(checkpoint, revision=revision, weights=options.load)
        config = read_config(found, model_type="qwen3_vl")
        tokenizer = read_tokenizer(found, vocab_size=config.get_text_config().vocab_size)
        chat = Chat(tokenizer, name=checkpoint, system=system, special_text=special_text)
        kind = Kind(body=Qwen3VLModel, full=Qwen3VLForConditionalGeneration)
        super().__init__(kind, config, found, chat, options=options)
        half = (0.5, 0.5, 0.5)
        self.patches = Patches.of(config.vision_config, mean=half, std=half)
        self.preparer = Qwen3VLPreparer(
            ClipSpec(frames=options.frames, resize=self.patches.resize(min_pixels, max_pixels)),
            chat=chat,
            prompt=prompt or options.prompt,
            patches=self.patches,
            config=config,
        )
        unused = () if options.frames else ("visual",)
        self.load(dtype=dtype, attention=attention, gradient_checkpointing=gradient_checkpointing, unused=unused)

    def media(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        """Name the pictures."""
        return self.patches.media(inputs)

    def video_settings(self) -> dict[str, Any]:
        """As of the other Qwen models; this processor's budget is that of a whole clip."""
        settings = super().video_settings()
        if not settings or self.preparer.clip.frames is None:
            return {}
        del settings["min_pixels"], settings["max_pixels"]
        frames = self.preparer.clip.frames.count
        size = {edge: pixels * frames for edge, pixels in settings["size"].items()}
        return settings | {"video_processor_type": "Qwen3VLVideoProcessor", "size": size}

    def media_tokens(self) -> dict[str, int]:
        """Estimate the tokens of one clip."""
        frames = self.preparer.clip.frames
        picture = self.patches.tokens_of_clip(frames.count, self.preparer.clip.resize) if frames else 0
        return {"picture": picture}

    def idle_media(self, inputs: dict[str, Tensor]) -> Tensor | None:
        """Look at one black token where the batch has no pictures."""
        if self.body.visual is None or "patches_NP" in inputs:
            return None
        device: torch.device = inputs["input_ids_BT"].device
        return self.patches.black_token(self.body, device)

    def parts(self) -> tuple[Part, ...]:
        """Vision tower, its mergers, language model, LM head."""
        vision = Part(
            name="vision",
            prefixes=tuple(f"body.visual.{name}" for name in ("patch_embed", "pos_embed", "blocks")),
            linear_names=("qkv", "proj", "linear_fc1", "linear_fc2"),
        )
        connector = Part(name="connector", prefixes=("body.visual.merger", "body.visual.deepstack_merger_list"))
        vision_parts = () if self.body.visual is None else (vision, connector)
        return vision_parts + self.language_parts()
