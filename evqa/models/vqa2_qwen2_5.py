"""VQA²'s variant on Qwen2.5-VL: its motion branch, without positions, beside Qwen2.5-VL's vision (docs/vqa2.md).

What was released cannot run, and no weights of it are published; repaired here:

- The template keeps T + 1 places (`<|vision_end|>`) for T motion features, and filling them stops with an error. Here T
  tokens of their own (`<|vision_pad|>`, which Qwen2.5-VL has and never uses) stand right behind the video's
  `<|vision_end|>`: a sequence of the same length and positions.
- One of its three readers gives motion, and a still image stops it. Here every file is read in the same way, and one
  without motion has no motion tokens.
- A batch's clips pass the branch joined in time, so that each sees its neighbours' ends. Here each passes by itself.
- Positions are counted for one video a conversation. Here for any number; motion tokens count as text, as released.

# B batch, T tokens, C channels, D width
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.media.spec import ClipSpec, FrameStream
from evqa.models.base import PARTS, BuildOptions
from evqa.models.key_adapter import KeyAdapter
from evqa.models.license import License
from evqa.models.patches import Patches
from evqa.models.qwen2_5_vl import Qwen2_5Vision
from evqa.models.qwen2_tokenizer import SYSTEM
from evqa.models.qwen_preparer import Marks, QwenMedia, QwenPreparer, Timing
from evqa.models.recomputation import Recompute
from evqa.models.splice import places_of, put
from evqa.models.vqa2.dims import read_motion
from evqa.models.vqa2.layout import BLOCKS, DEAD, dead_patterns, motion_prefixes, stored_shapes
from evqa.models.vqa2.model import EVERY_FRAME
from evqa.models.vqa2.motion import MotionBranch
from evqa.models.vqa2.preparer import num_motion, places_per_file, unread_motion
from evqa.prompts.chat import Chat
from evqa.types import Clip, FrameChunks, Inputs, Part, Prepared, Turn

MOTION_TOKEN = "<|vision_pad|>"
MOTION_SIZE = 192  # pixels a side
MOTION_PREFIXES = tuple(pair for pair in motion_prefixes("slowfast") if pair[0] != "motion.position_embedding")
TABLE = "slowfast.position_embedding.*"  # the class has the table of positions, the forward pass leaves it out


class Vqa2QwenPreparer(QwenPreparer):
    """A question has one place a file, for frames and motion in a row, or two: frames, then motion."""

    def __init__(
        self, clip: ClipSpec, *, chat: Chat, patches: Patches, video: Marks, timing: Timing, motion_token: int
    ) -> None:
        super().__init__(clip, chat=chat, patches=patches, video=video, timing=timing)
        self.motion_token = motion_token

    def prepare(self, turns: Sequence[Turn], clips: Sequence[Clip]) -> Prepared:
        """Prepare one sample. Where a file has no motion (a still image) its place stays empty."""
        words = super().prepare(turns, clips)
        notes = unread_motion(self.clip, places_per_file(turns, clips))
        return words | {"motion": [clip.motion for clip in clips], "notes": (*words["notes"], *notes)}

    def streams(self, turns: Sequence[Turn], clips: Sequence[Clip], media: QwenMedia) -> list[list[int]]:
        """Return the ids of frames and motion, joined where a question has one place for both."""
        pairs = [(self.frames(clip, media), [self.motion_token] * num_motion(clip)) for clip in clips]
        if places_per_file(turns, clips) == 2:
            return [ids for pair in pairs for ids in pair]
        return [[*frames, *motion] for frames, motion in pairs]

    def collate(self, items: Sequence[Prepared]) -> Inputs:
        """Collate as for Qwen2.5-VL; motion streams are those of all files in a row."""
        motion = tuple(frames for item in items for frames in item["motion"])
        inputs, num_tokens = super().collate(items), sum(one.num_frames for one in motion if one is not None)
        places_2N = places_of(self.motion_token, inputs["text_BT"], num_tokens=num_tokens)
        return replace(inputs, tensors=inputs.tensors | {"motion_places_2N": places_2N}, streams={"motion": motion})


class Vqa2Qwen2_5(Qwen2_5Vision):  # noqa: N801
    """Qwen2.5-VL and the motion branch; without `motion` the branch is not built.

    checkpoint: a folder or a hub name with the branch's weights (`slowfast.*`, `slowfast_projector.*`) beside
        Qwen2.5-VL's; revision pins a hub name. min_pixels / max_pixels: area of one key frame after resizing.
    motion: which frames the motion branch sees, at 192 x 192 pixels; null for none.
    """

    learning_rate: ClassVar[float] = 1e-5  # the original's
    places_per_file: ClassVar[tuple[int, ...]] = (1, 2)  # frames and motion in a row; or frames, then motion
    part_names: ClassVar[tuple[str, ...]] = (*PARTS, "motion", "motion_connector")
    key_adapter = KeyAdapter(
        prefixes=(
            *Qwen2_5Vision.key_adapter.prefixes,
            *MOTION_PREFIXES,
            (f"{DEAD}.position_embedding", "slowfast.position_embedding"),
        ),
        modules=(*Qwen2_5Vision.key_adapter.modules, *MOTION_PREFIXES),
        older=Qwen2_5Vision.key_adapter.older,
        unused=(*dead_patterns("slowfast"), TABLE),
    )
    preparer: Vqa2QwenPreparer

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str,
        revision: str | None = None,
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa",
        recompute: Recompute = 0.0,
        recompute_media: bool = False,
        min_pixels: Annotated[int, "1 <= min_pixels"] = 128 * 28 * 28,
        max_pixels: Annotated[int, "1 <= max_pixels"] = 360 * 420,
        motion: FrameSampling | None = EVERY_FRAME,
        license: License | None = None,
    ) -> None:
        super().__init__(
            options, checkpoint=checkpoint, revision=revision, system=SYSTEM, special_text="plain", license=license
        )
        self.motion_token = self.chat.token(MOTION_TOKEN)
        self.preparer = Vqa2QwenPreparer(
            ClipSpec(
                frames=FrameStream.of(options.frames, resize=self.patches.resize(min_pixels, max_pixels)),
                motion=FrameStream.of(motion, resize=Resize(mode="square", size=MOTION_SIZE)),
            ),
            motion_token=self.motion_token,
            chat=self.chat,
            patches=self.patches,
            video=self.video,
            timing=Timing(times_per_second=self.times_per_second),
        )
        self._add_motion(dtype)
        unused = (*self.unused, *(() if motion else ("motion", "motion_projector")))
        self.load(
            dtype=dtype,
            attention=attention,
            recompute=recompute,
            recompute_media=recompute_media,
            unused=unused,
        )

    def _add_motion(self, dtype: str) -> None:
        """Lay the branch and its projector out without memory, in the sizes of the checkpoint's weights."""
        dims = replace(read_motion(self.checkpoint, self.key_adapter), num_positions=None)
        with torch.device("meta"):
            self.motion: MotionBranch | None = MotionBranch(dims)
            self.motion_projector: nn.Sequential | None = nn.Sequential(
                nn.Linear(dims.outer[-1], self.width), nn.GELU(), nn.Linear(self.width, self.width)
            )
        for part in (self.motion, self.motion_projector):
            part.to(getattr(torch, dtype))

    def words(self, inputs: Inputs) -> dict[str, Any]:
        """As of Qwen2.5-VL, with motion in its places."""
        words = super().words(inputs)
        if motion := [self.encode_motion(frames) for frames in _present(inputs)]:
            words["inputs_embeds"] = put(words["inputs_embeds"], inputs["motion_places_2N"], torch.cat(motion))
        return words

    def encode_motion(self, frames: FrameChunks) -> Tensor:
        """Map a motion stream to its tokens [T, D], one a frame."""
        assert self.motion is not None
        return self._project(self.motion(frames, recompute=self.recompute_media))

    def idle_media(self, inputs: Inputs) -> Tensor | None:
        """Encode one black token and one black frame where the batch has no pictures or no motion."""
        idle = super().idle_media(inputs)
        if self.motion is None or _present(inputs):
            return idle
        black_TCHW = torch.zeros(1, 3, MOTION_SIZE, MOTION_SIZE, device=inputs["text_BT"].device)
        tokens_TD = self._project(self.motion.pathway(black_TCHW))
        return tokens_TD if idle is None else torch.cat([idle, tokens_TD])

    def _project(self, features_TC: Tensor) -> Tensor:
        assert self.motion_projector is not None
        dtype = next(self.motion_projector.parameters()).dtype  # float32 where it is trained
        tokens_TD: Tensor = self.motion_projector(features_TC.to(dtype))
        return tokens_TD

    def media_tokens(self) -> dict[str, int]:
        """Estimate the tokens of one clip."""
        motion = self.preparer.clip.motion
        return super().media_tokens() | ({"motion": motion.sampling.usual_count} if motion else {})

    def parts(self) -> tuple[Part, ...]:
        """Those of Qwen2.5-VL, the motion branch and its projector."""
        motion = (
            Part(name="motion", prefixes=BLOCKS),
            Part(name="motion_connector", prefixes=("motion_projector",)),
        )
        return super().parts() + (motion if self.motion is not None else ())

    def frozen_parts(self) -> tuple[str, ...]:
        """The towers stay as they are; so does the motion branch, which the original runs without gradients."""
        return (*super().frozen_parts(), "motion")

    def _complete_names(self) -> list[str]:
        """Add all that the base holds of the motion branch, the slow pathway included."""
        stored = stored_shapes(self.checkpoint, self.key_adapter)
        return [*super()._complete_names(), *(name for name in stored if name.startswith(("motion", DEAD)))]

    def how_to_load(self) -> str:
        """Say what a merged folder gives in other hands, and what it does not."""
        return (
            "`model.checkpoint=FOLDER` gives evqa the scorer as it was evaluated.\n"
            f"`transformers.{self.published_class()}.from_pretrained(FOLDER)` reads Qwen2.5-VL's own\n"
            "weights and leaves the motion branch (`slowfast.*`, `slowfast_projector.*`) out, so its scores are others."
        )


def _present(inputs: Inputs) -> list[FrameChunks]:
    """The motion streams of those files that have one."""
    return [frames for frames in inputs.streams["motion"] if frames is not None]
