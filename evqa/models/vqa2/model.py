"""VQA² (Jia et al., 2024, arXiv 2411.03795): LLaVA-OneVision with a motion branch.

SigLIP -> projector -> pooled tokens of the key frames, and one newline a video; all frames -> fast pathway ->
projector -> one motion token a frame; both spliced into a Qwen2 chat.

# B batch, N frames or tiles of all files in a row, C channels, H height, W width, T tokens, D width, V vocabulary
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from evqa.errors import ConfigError
from evqa.media.image import Tiling
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.media.spec import ClipSpec, FrameStream
from evqa.models.base import PARTS, BuildOptions
from evqa.models.license import License
from evqa.models.pixels import normalise
from evqa.models.recomputation import Recompute
from evqa.models.source import find_source
from evqa.models.splice import PLACEHOLDER, Spliced, splice, texts_of
from evqa.models.spliced import SplicedModel
from evqa.models.vqa2 import build, export
from evqa.models.vqa2.layout import ADAPTER, BLOCKS
from evqa.models.vqa2.motion import MotionBranch
from evqa.models.vqa2.preparer import TokenCounts, Vqa2Preparer
from evqa.models.vqa2.source import FAMILY, build_chat
from evqa.prompts.defaults import QUALITY
from evqa.prompts.templates import PLACE
from evqa.types import MEDIA, FrameChunks, Inputs, Part, Turn

EVERY_FRAME = FrameSampling(policy="all", multiple_of=4)
CONNECTOR = (*(f"body.multi_modal_projector.linear_{i}" for i in (1, 2)), "body.image_newline")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Vqa2(SplicedModel):
    """LLaVA-OneVision and the motion branch; without `motion` the branch is not built.

    checkpoint: folder in the published layout, or a hub id together with a pinned revision; null builds random
        weights of the given size (published: 7B; tiny: for tests and demonstrations).
    exact: the original's function, faults included (docs/vqa2.md): Pillow's resizing, the overview of a still image
        dropped, `<|im_end|>` in a title read as a control token, the template's own tokens learned beside the answers.
    motion: which frames the motion branch sees; null for none. Its positions are the numbers of these frames, and the
        table of positions is as long as the most frames that can be read.
    doubled_motion: where a file has two places, its motion stands behind the frames and in the second place again, as
        the original's code for questions has it; its training and its scorers do not.
    max_tokens: longest conversation, pictures and motion included; the original cuts longer ones at their end.
    init_seed: of random weights, which depend on nothing else.
    recompute, recompute_media: see `Model.recompute_activations`.
    """

    modalities: ClassVar[tuple[str, ...]] = ("v",)
    generates: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 1e-5  # the original's
    max_files: ClassVar[int] = 2
    places_per_file: ClassVar[tuple[int, ...]] = (1, 2)  # frames and motion in a row; or frames, then motion
    reads_images: ClassVar[bool] = True
    part_names: ClassVar[tuple[str, ...]] = (*PARTS, "motion", "motion_connector")
    preparer: Vqa2Preparer
    body: Any  # transformers' LlavaOnevisionModel
    motion: MotionBranch | None
    motion_projector: nn.Sequential | None
    lm_head: nn.Linear | None
    key_adapter = ADAPTER

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
        motion: FrameSampling | None = EVERY_FRAME,
        doubled_motion: bool = False,
        max_tokens: Annotated[int, "1 <= max_tokens"] = 10_000,
        license: License | None = None,
    ) -> None:
        super().__init__()
        self.source = find_source(FAMILY, checkpoint, revision, size, load=options.load)
        self.dims, self.license = self.source.dims, license
        self.exact = exact
        self.hide_padding = options.hide_padding
        self.doubled_motion = doubled_motion
        self.width = self.dims.language.hidden_size
        _check_positions(motion, self.dims.motion.num_positions)
        build.build(self, options, seed=init_seed, dtype=dtype, attention=attention, has_motion=motion is not None)
        self.recompute_activations(recompute, media=recompute_media)
        self.chat = build_chat(self.source, exact=exact)
        resize = Resize(mode="square", size=self.dims.vision.image_size, exact=exact)
        self.preparer = Vqa2Preparer(
            ClipSpec(
                frames=FrameStream.of(options.frames, resize=resize),
                motion=FrameStream.of(motion, resize=resize),
                image=Tiling(size=self.dims.vision.image_size, grids=self.dims.grids, exact=exact),
            ),
            chat=self.chat,
            counts=TokenCounts(
                side=self.dims.vision.patches_per_side,
                frame=self.dims.tokens_per_frame,
                overview=not exact,
                motion=2 if doubled_motion else 1,
                limit=max_tokens,
            ),
        )

    def head_state(self) -> dict[str, Tensor]:
        """Read the regression head that `evqa.merge` writes beside the weights."""
        return export.head_state(self.source, width=self.width)

    def export(self, folder: Path, *, head_state: Mapping[str, Tensor]) -> None:
        """Write the published layout, weights that were not built and dead ones taken over from the base."""
        del head_state  # the layout has no place for them
        export.export(self, folder, self.source)

    def published_class(self) -> str:
        """Name the original's class."""
        return "LlavaQwenForCausalLM"

    def how_to_load(self) -> str:
        """Say what a merged folder gives in other hands, and what it does not."""
        return export.how_to_load(exact=self.exact)

    def parts(self) -> tuple[Part, ...]:
        """The parts that are built; LoRA may adapt the language model."""
        every = (
            Part(name="vision", prefixes=("body.vision_tower.embeddings", "body.vision_tower.encoder")),
            Part(name="connector", prefixes=CONNECTOR),
            Part(name="motion", prefixes=(*BLOCKS, "motion.position_embedding")),
            Part(name="motion_connector", prefixes=("motion_projector",)),
            Part(name="language", prefixes=("body.language_model",), linear_names=PROJECTIONS),
            Part(name="lm_head", prefixes=("lm_head",)),
        )
        built = {"motion": self.motion, "motion_connector": self.motion_projector, "lm_head": self.lm_head}
        return tuple(part for part in every if built.get(part.name, self.body) is not None)

    def tokens_per_sample(self) -> dict[str, int]:
        """Count the tokens of a video of usual length, by kind."""
        turns = (Turn(role="user", text=QUALITY.question.replace(PLACE, MEDIA)),)
        words = self.chat.encode(turns, [[PLACEHOLDER]])
        clip = self.preparer.clip
        counts = {"text": (len(words.ids) - 1) // self.source.bytes_per_token}
        if clip.frames is not None:
            counts["picture"] = clip.frames.sampling.usual_count * self.dims.tokens_per_frame + 1
        if clip.motion is not None:
            counts["motion"] = clip.motion.sampling.usual_count
        return counts

    # ---- running

    @property
    def trunk(self) -> Any:
        """The language model without its LM head."""
        return self.body.language_model

    def sequence(self, inputs: Inputs) -> Spliced:
        """Embed whole samples: text, with the tokens of frames and motion in their places."""
        texts = texts_of(inputs)
        pairs = list(zip(self._pictures(inputs), self._motions(inputs.streams["motion"]), strict=True))
        numbers = iter(inputs.host["files"])
        media: list[list[Tensor]] = []
        for per_file, num_files in zip(inputs.host["per_file"], inputs.host["num_files"], strict=True):
            files = [pairs[number] for number in islice(numbers, num_files)]
            media.append([tokens for pair in files for tokens in self._in_places(*pair, per_file=per_file)])
        return splice(self.body.language_model.embed_tokens(texts.ids_BT), texts, media)

    def _in_places(self, frames_TD: Tensor, motion_TD: Tensor, *, per_file: int) -> tuple[Tensor, ...]:
        """Put a file's tokens into its place, or its two places."""
        if per_file == 1:
            return (torch.cat([frames_TD, motion_TD]),)
        return (torch.cat([frames_TD, motion_TD]) if self.doubled_motion else frames_TD, motion_TD)

    def encode_frames(self, pixels_NCHW: Tensor) -> Tensor:
        """Map normalised frames of a video to its tokens [T, D], the newline last (`get_video_features`)."""
        tokens_1TD: Tensor = self.body.get_video_features(pixels_NCHW[None], return_dict=True).pooler_output
        return tokens_1TD[0]

    def encode_image(self, pixels_NCHW: Tensor, *, height: int, width: int) -> Tensor:
        """Map an overview and tiles to the tokens [T, D] of an image of this size (`get_image_features`)."""
        size_12 = torch.tensor([[height, width]])
        tokens_TD: Tensor = self.body.get_image_features(pixels_NCHW, size_12, return_dict=True).pooler_output[0]
        return tokens_TD[self.dims.vision.num_patches :] if self.exact else tokens_TD

    def encode_motion(self, frames: FrameChunks) -> Tensor:
        """Map a motion stream to its tokens [T, D], one a frame."""
        assert self.motion is not None
        assert self.motion_projector is not None
        features_TC = self.motion(frames, recompute=self.recompute_media)
        tokens_TD: Tensor = self.motion_projector(features_TC.to(self.motion_projector[0].weight.dtype))
        return tokens_TD

    def _pictures(self, inputs: Inputs) -> list[Tensor]:
        host = inputs.host
        if "frames_NHWC" not in inputs:
            none = self.encode_frames(self._black())[:0] if _waits_for_others(self) else self._no_tokens()
            return [none] * len(host["num_frames"])
        files = normalise(inputs["frames_NHWC"]).split(host["num_frames"])
        return [self._picture(*file) for file in zip(files, host["image_height"], host["image_width"], strict=True)]

    def _picture(self, pixels_NCHW: Tensor, height: int, width: int) -> Tensor:
        if not len(pixels_NCHW):
            return self._no_tokens()
        return self.encode_image(pixels_NCHW, height=height, width=width) if height else self.encode_frames(pixels_NCHW)

    def _motions(self, streams: Sequence[FrameChunks | None]) -> list[Tensor]:
        none = self._no_tokens()
        if self.motion is not None and self.motion_projector is not None and not any(streams):
            none = self.motion_projector(self.motion.idle(self._black()))[:0] if _waits_for_others(self) else none
        return [none if frames is None else self.encode_motion(frames) for frames in streams]

    def _black(self) -> Tensor:
        size = self.dims.vision.image_size
        return torch.zeros(1, self.dims.vision.num_channels, size, size, device=self._no_tokens().device)


def _check_positions(motion: FrameSampling | None, num_positions: int | None) -> None:
    """Refuse a reading that may give more frames than the motion branch has positions for."""
    if motion is not None and num_positions is not None and motion.at_most > num_positions:
        raise ConfigError(
            [f"model.motion.at_most={motion.at_most}: the weights have positions for {num_positions} frames. Lower it; "
             "model.motion.stride=2 reads longer clips."]
        )  # fmt: skip


def _waits_for_others(model: nn.Module) -> bool:
    """Whether every process must visit every part, with a zero gradient where its batch has nothing for it."""
    return model.training and torch.distributed.is_available() and torch.distributed.is_initialized()
