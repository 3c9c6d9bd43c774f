"""Qwen2.5-Omni's thinker (Xu et al., 2025): it sees, hears and reads; the talking half is never loaded.

Sound stands behind the picture as a stretch of its own (transformers' `use_audio_in_video=False`), because a clip's
frames and its sound need not cover the same seconds, and either may be missing.

# B batch, T tokens, G videos or sounds of a batch, S audio samples, M mel bins, R mel rows (10 ms each)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from evqa.media.clip import ClipSpec
from evqa.models.base import BuildOptions, Preparer
from evqa.models.hub import find_checkpoint, read_config, read_tokenizer
from evqa.models.patches import Patches, collate_patches
from evqa.models.positions import collate_positions, rotary_positions
from evqa.models.pretrained import Kind, PretrainedModel
from evqa.prompts.chat import Chat
from evqa.prompts.prompt import Prompt
from evqa.types import SAMPLE_RATE_HZ, Answer, Clip, Part, Prepared, Record


class LogMel:
    """Whisper's log-mel spectrogram, as transformers computes it for a sound padded with silence."""

    def __init__(self, num_mel_bins: int) -> None:
        from transformers import WhisperFeatureExtractor

        self.extractor = WhisperFeatureExtractor(feature_size=num_mel_bins, sampling_rate=SAMPLE_RATE_HZ)

    def __call__(self, waveform_S: Tensor) -> Tensor:
        """Return [R, M], one row for every 10 ms that holds sound.

        The official processor pads to 300 s; one window of silence gives the same rows, and longer sounds stay whole.
        """
        hop, window = self.extractor.hop_length, self.extractor.n_fft
        num_rows = -(-len(waveform_S) // hop)
        padded_S = functional.pad(waveform_S, (0, num_rows * hop + window - len(waveform_S)))
        features = self.extractor(
            padded_S.numpy(), sampling_rate=SAMPLE_RATE_HZ, padding="do_not_pad", truncation=False, return_tensors="pt"
        )
        mel_MR: Tensor = features["input_features"][0]
        return mel_MR[:, :num_rows].T.contiguous()


def num_audio_tokens(num_rows: int) -> int:
    """Count the tokens that the audio tower makes of mel rows: a convolution and a pooling, both of stride two."""
    return ((num_rows - 1) // 2 + 1 - 2) // 2 + 1


class Qwen2_5OmniPreparer(Preparer):  # noqa: N801 (Qwen's own spelling)
    """Frames as patches, sound as log-mel rows, then the question."""

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
        self.mel = LogMel(config.audio_config.num_mel_bins)
        self._vision = (chat.token("<|vision_bos|>"), chat.token("<|vision_eos|>"))
        self._audio = (
            chat.token("<|audio_bos|>", configured=config.audio_start_token_id),
            chat.token("<|audio_eos|>", configured=config.audio_end_token_id),
        )
        self._frame = chat.token("<|VIDEO|>", configured=config.video_token_id)
        self._sound = chat.token("<|AUDIO|>", configured=config.audio_token_id)
        self._times_per_second = config.position_id_per_seconds

    def prepare(self, record: Record, clip: Clip, answer: Answer) -> Prepared:
        """Write one conversation; a clip without frames or without sound yields no tokens for it."""
        inputs: Prepared = {}
        media: list[int] = []
        if clip.frames_FHWC is not None:
            inputs |= self.patches.prepare(clip, seconds_per_grid=self.seconds_per_grid)
            media += self._between(self._vision, self._frame, self.patches.num_tokens(inputs["grid_3"]))
        if clip.waveform_S is not None and num_audio_tokens(-(-len(clip.waveform_S) // self.mel.extractor.hop_length)):
            inputs["mel_RM"] = self.mel(clip.waveform_S)
            media += self._between(self._audio, self._sound, num_audio_tokens(len(inputs["mel_RM"])))
        words = self.chat.write(media, self.prompt.text(record), answer)
        position_T3 = rotary_positions(
            words["input_ids_T"],
            video=self._frame,
            grids=[self.patches.token_grid(inputs["grid_3"])] if "grid_3" in inputs else [],
            seconds_per_step=inputs.get("seconds_per_grid", 0.0),
            times_per_second=self._times_per_second,
        )
        return words | inputs | {"position_T3": position_T3}

    def collate(self, items: Sequence[Prepared]) -> dict[str, Tensor]:
        """Pad text and mel rows on the right; patches of all samples lie in one row."""
        if not items:
            raise ValueError("cannot collate an empty list of samples")
        batch = self.chat.collate(items) | collate_positions(items) | collate_patches(items)
        sounds = [item["mel_RM"] for item in items if "mel_RM" in item]
        if sounds:
            rows_G = torch.tensor([len(mel_RM) for mel_RM in sounds])
            batch["mel_GRM"] = pad_sequence(sounds, batch_first=True)
            batch["mel_mask_GR"] = torch.arange(int(rows_G.max())) < rows_G.unsqueeze(1)
        return batch

    @staticmethod
    def _between(marks: tuple[int, int], token: int, count: int) -> list[int]:
        return [marks[0], *[token] * count, marks[1]]


class Qwen2_5Omni(PretrainedModel):  # noqa: N801
    """The thinker of Qwen2.5-Omni with the towers that the run's modalities need, with or without its LM head.

    checkpoint: a folder or a hub name; revision pins a hub name. min_pixels / max_pixels: area of one frame after
        resizing. seconds_per_grid: time that two frames span; null takes it from the frames' time stamps.
        special_text: see `Chat`. prompt replaces the run's own.
    """

    modalities: ClassVar[tuple[str, ...]] = ("a", "v", "av")
    inside: ClassVar[str | None] = "thinker_config"

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str = "Qwen/Qwen2.5-Omni-7B",
        revision: str | None = "ae9e1690543ffd5c0221dc27f79834d0294cba00",
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa",
        gradient_checkpointing: bool = False,
        min_pixels: Annotated[int, "1 <= min_pixels"] = 128 * 28 * 28,
        max_pixels: Annotated[int, "1 <= max_pixels"] = 768 * 28 * 28,
        seconds_per_grid: Annotated[float, "0 < seconds_per_grid"] | None = None,
        system: str | None = "You are a helpful assistant.",
        special_text: Literal["plain", "parsed"] = "plain",
        prompt: Prompt | None = None,
    ) -> None:
        from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as omni

        found = find_checkpoint(checkpoint, revision=revision, weights=options.load)
        config = read_config(found, model_type="qwen2_5_omni_thinker", inside=self.inside)
        tokenizer = read_tokenizer(found, vocab_size=config.get_text_config().vocab_size)
        chat = Chat(tokenizer, name=checkpoint, system=system, special_text=special_text)
        # The positions are computed from this token, though the configuration class has no field for it.
        config.vision_start_token_id = chat.token("<|vision_bos|>")
        kind = Kind(body=omni.Qwen2_5OmniThinkerModel, full=omni.Qwen2_5OmniThinkerForConditionalGeneration)
        super().__init__(kind, config, found, chat, options=options)
        self.patches = Patches.of(config.vision_config)
        self.preparer = Qwen2_5OmniPreparer(
            ClipSpec(frames=options.frames, audio=options.audio, resize=self.patches.resize(min_pixels, max_pixels)),
            chat=chat,
            prompt=prompt or options.prompt,
            patches=self.patches,
            config=config,
            seconds_per_grid=seconds_per_grid,
        )
        towers = {"visual": options.frames, "audio_tower": options.audio}
        unused = tuple(name for name, wanted in towers.items() if wanted is None)
        self.load(dtype=dtype, attention=attention, gradient_checkpointing=gradient_checkpointing, unused=unused)

    def exported_settings(self) -> dict[str, Any]:
        """The token that positions are counted from in transformers, for which its configuration has no field."""
        return {"vision_start_token_id": self.architecture.vision_start_token_id}

    def media(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        """Name pictures and sound."""
        media: dict[str, Any] = self.patches.media(inputs)
        if "mel_GRM" in inputs:
            media["input_features"] = inputs["mel_GRM"].transpose(1, 2)
            media["feature_attention_mask"] = inputs["mel_mask_GR"].long()
        return media

    def media_tokens(self) -> dict[str, int]:
        """Estimate the tokens of one clip; a window without an end counts as its `seconds`."""
        frames = self.preparer.clip.frames
        picture = self.patches.tokens_of_clip(frames.count, self.preparer.clip.resize) if frames else 0
        audio = self.preparer.clip.audio
        return {"picture": picture, "sound": num_audio_tokens(int(audio.seconds * 100)) if audio else 0}

    def idle_media(self, inputs: dict[str, Tensor]) -> Tensor | None:
        """Look at one black token, hear one token of silence, where the batch has no pictures or no sound."""
        device = inputs["input_ids_BT"].device
        idle = []
        if self.body.visual is not None and "patches_NP" not in inputs:
            idle.append(self.patches.black_token(self.body, device))
        if self.body.audio_tower is not None and "mel_GRM" not in inputs:
            silence = torch.zeros(1, self.architecture.audio_config.num_mel_bins, 4, device=device)
            mask = torch.ones(1, 4, dtype=torch.long, device=device)
            idle.append(self.body.get_audio_features(silence, mask).last_hidden_state)
        return torch.cat(idle) if idle else None

    def parts(self) -> tuple[Part, ...]:
        """Towers with their last projections (connectors), language model, LM head."""
        vision = Part(
            name="vision",
            prefixes=("body.visual.patch_embed", "body.visual.blocks"),
            linear_names=("q", "k", "v", "proj", "gate_proj", "up_proj", "down_proj"),
        )
        encoder = tuple(f"body.audio_tower.{name}" for name in ("conv1", "conv2", "layers", "ln_post"))
        audio = Part(
            name="audio", prefixes=encoder, linear_names=("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
        )
        vision_parts = (vision, Part(name="connector", prefixes=("body.visual.merger",)))
        # The tower's begin and end embeddings belong to no part: transformers never uses them.
        audio_parts = (audio, Part(name="audio_connector", prefixes=("body.audio_tower.proj",)))
        return (
            *(vision_parts if self.body.visual is not None else ()),
            *(audio_parts if self.body.audio_tower is not None else ()),
            *self.language_parts(),
        )
