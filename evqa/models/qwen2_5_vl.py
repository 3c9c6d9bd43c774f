"""Qwen2.5-VL (Bai et al., 2025): vision and text, through transformers with our own preprocessing.

# B batch, T tokens, G videos of a batch
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import Tensor

from evqa.errors import ConfigError
from evqa.media.spec import ClipSpec, FrameStream
from evqa.models.base import BuildOptions
from evqa.models.hub import find_checkpoint, read_config
from evqa.models.key_adapter import KeyAdapter
from evqa.models.license import License
from evqa.models.patches import Patches
from evqa.models.pretrained import Kind, PretrainedModel, read_chat, vision_marks
from evqa.models.qwen_preparer import QwenPreparer, Timing
from evqa.models.recomputation import Recompute
from evqa.types import Inputs, Part


class Qwen2_5Vision(PretrainedModel):  # noqa: N801
    """The structure of Qwen2.5-VL, with or without its LM head; a subclass makes the preparer and loads."""

    modalities: ClassVar[tuple[str, ...]] = ("v",)
    key_adapter = KeyAdapter(
        prefixes=(("body.visual", "visual"), ("body.language_model", "model"), ("lm_head", "lm_head")),
        modules=(("body", "model"), ("lm_head", "lm_head")),
        older=(("model.visual.", "visual."), ("model.language_model.", "model.")),
    )

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str,
        revision: str | None,
        system: str | None,
        special_text: Literal["plain", "parsed"],
        license: License | None,
    ) -> None:
        from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLModel

        if options.audio is not None:
            raise ConfigError(
                ["modal: Qwen2.5-VL has no audio encoder; use modal=v, or a model with one (qwen2_5_omni)."]
            )
        found = find_checkpoint(checkpoint, revision=revision, weights=options.load)
        config = read_config(found, model_type="qwen2_5_vl")
        chat = read_chat(found, config, system=system, special_text=special_text)
        kind = Kind(body=Qwen2_5_VLModel, full=Qwen2_5_VLForConditionalGeneration)
        super().__init__(kind, config, found, chat, options=options)
        self.license = license
        self.patches = Patches.of(config.vision_config)
        self.video = vision_marks(chat, pad=config.video_token_id)
        self.times_per_second = config.vision_config.tokens_per_second
        self.unused = () if options.frames else ("body.visual",)

    def media_tokens(self) -> dict[str, int]:
        """Estimate the tokens of one clip."""
        frames = self.preparer.clip.frames
        picture = self.patches.tokens_of_clip(frames.sampling.usual_count, frames.resize) if frames else 0
        return {"picture": picture}

    def idle_media(self, inputs: Inputs) -> Tensor | None:
        """Look at one black token where the batch has no pictures."""
        if self.body.visual is None or "patches_NP" in inputs:
            return None
        return self.patches.black_token(self.body.visual, inputs["text_BT"].device)

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


class Qwen2_5_VL(Qwen2_5Vision):  # noqa: N801
    """Qwen2.5-VL as published.

    checkpoint: a folder or a hub name; revision pins a hub name. min_pixels / max_pixels: area of one frame after
        resizing. exact_pixels: resize with the filter of LMM-EVQA's code instead of today's processor's.
    seconds_per_grid: time that two frames span; null takes it from the frames' time stamps, 1.0 is what LMM-EVQA's
        code always passes. special_text: see `Chat`.
    """

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str = "Qwen/Qwen2.5-VL-7B-Instruct",
        revision: str | None = "cc594898137f460bfe9f0759e9844b3ce807cfb5",
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa",
        recompute: Recompute = 0.0,
        recompute_media: bool = False,
        min_pixels: Annotated[int, "1 <= min_pixels"] = 128 * 28 * 28,
        max_pixels: Annotated[int, "1 <= max_pixels"] = 768 * 28 * 28,
        exact_pixels: bool = False,
        seconds_per_grid: Annotated[float, "0 < seconds_per_grid"] | None = None,
        system: str | None = "You are a helpful assistant.",
        special_text: Literal["plain", "parsed"] = "plain",
        license: License | None = None,
    ) -> None:
        super().__init__(
            options, checkpoint=checkpoint, revision=revision, system=system, special_text=special_text, license=license
        )
        resize = self.patches.resize(min_pixels, max_pixels, exact=exact_pixels)
        self.preparer = QwenPreparer(
            ClipSpec(frames=FrameStream.of(options.frames, resize=resize)),
            chat=self.chat,
            patches=self.patches,
            video=self.video,
            timing=Timing(times_per_second=self.times_per_second, seconds_per_grid=seconds_per_grid),
        )
        self.load(
            dtype=dtype,
            attention=attention,
            recompute=recompute,
            recompute_media=recompute_media,
            unused=self.unused,
        )
