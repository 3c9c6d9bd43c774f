"""Qwen3-VL (Qwen team, 2025): as Qwen2.5-VL, but time is written into the text before every pair of frames.

# B batch, T tokens, G videos of a batch
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
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
from evqa.models.splice import add, put
from evqa.types import Inputs, Part


class Qwen3VL(PretrainedModel):
    """Qwen3-VL with or without its LM head; the arguments are those of `Qwen2_5_VL`."""

    modalities: ClassVar[tuple[str, ...]] = ("v",)
    key_adapter = KeyAdapter(prefixes=(("body", "model"), ("lm_head", "lm_head")))

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str = "Qwen/Qwen3-VL-4B-Instruct",
        revision: str | None = "ebb281ec70b05090aa6165b016eac8ec08e71b17",
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa",
        recompute: Recompute = 0.0,
        recompute_media: bool = False,
        min_pixels: Annotated[int, "1 <= min_pixels"] = 128 * 32 * 32,
        max_pixels: Annotated[int, "1 <= max_pixels"] = 768 * 32 * 32,
        system: str | None = None,
        special_text: Literal["plain", "parsed"] = "plain",
        license: License | None = None,
    ) -> None:
        from transformers import Qwen3VLForConditionalGeneration, Qwen3VLModel

        if options.audio is not None:
            raise ConfigError(
                ["modal: qwen3_vl has no audio encoder; use modal=v, or a model with one (qwen2_5_omni)."]
            )
        found = find_checkpoint(checkpoint, revision=revision, weights=options.load)
        config = read_config(found, model_type="qwen3_vl")
        chat = read_chat(found, config, system=system, special_text=special_text)
        kind = Kind(body=Qwen3VLModel, full=Qwen3VLForConditionalGeneration)
        super().__init__(kind, config, found, chat, options=options)
        self.license = license
        half = (0.5, 0.5, 0.5)
        self.patches = Patches.of(config.vision_config, mean=half, std=half)
        self.preparer = QwenPreparer(
            ClipSpec(frames=FrameStream.of(options.frames, resize=self.patches.resize(min_pixels, max_pixels))),
            chat=chat,
            patches=self.patches,
            video=vision_marks(chat, pad=config.video_token_id),
            timing=Timing(written=True),
        )
        unused = () if options.frames else ("body.visual",)
        self.load(
            dtype=dtype,
            attention=attention,
            recompute=recompute,
            recompute_media=recompute_media,
            unused=unused,
        )
        # transformers' own adds by truth values, for whose number the program waits.
        self.body.language_model._deepstack_process = add

    def words(self, inputs: Inputs) -> dict[str, Any]:
        """As of the other Qwen models; layers of the vision tower are added behind the language model's first ones."""
        words_BTD = self.body.language_model.embed_tokens(inputs["text_BT"])
        if "patches_NP" not in inputs:
            return {"inputs_embeds": words_BTD}
        frames, places_2N = self.patches.encode(self.body.visual, inputs), inputs["frame_places_2N"]
        return {
            "inputs_embeds": put(words_BTD, places_2N, frames.pooler_output),
            "visual_pos_masks": places_2N,
            "deepstack_visual_embeds": frames.deepstack_features,
        }

    def video_settings(self) -> dict[str, Any]:
        """As of the other Qwen models; this processor's budget is that of a whole clip."""
        settings = super().video_settings()
        if not settings or self.preparer.clip.frames is None:
            return {}
        del settings["min_pixels"], settings["max_pixels"]
        frames = self.preparer.clip.frames.sampling.usual_count
        size = {edge: pixels * frames for edge, pixels in settings["size"].items()}
        return settings | {"video_processor_type": "Qwen3VLVideoProcessor", "size": size}

    def media_tokens(self) -> dict[str, int]:
        """Estimate the tokens of one clip."""
        frames = self.preparer.clip.frames
        picture = self.patches.tokens_of_clip(frames.sampling.usual_count, frames.resize) if frames else 0
        return {"picture": picture}

    def idle_media(self, inputs: Inputs) -> Tensor | None:
        """Look at one black token where the batch has no pictures."""
        if self.body.visual is None or "patches_NP" in inputs:
            return None
        device: torch.device = inputs["text_BT"].device
        return self.patches.black_token(self.body.visual, device)

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
