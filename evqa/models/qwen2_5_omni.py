"""Qwen2.5-Omni's thinker (Xu et al., 2025): vision, audio and text; the talking half is never loaded.

Sound stands behind the picture as a stretch of its own (transformers' `use_audio_in_video=False`), because a clip's
frames and its sound need not cover the same seconds, and either may be missing.

# B batch, T tokens, G videos or sounds of a batch, S audio samples, M mel bins, R mel rows (10 ms each)
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from evqa.media.spec import ClipSpec, FrameStream
from evqa.models.base import BuildOptions
from evqa.models.encoding import encode_sounds
from evqa.models.hub import find_checkpoint, read_config
from evqa.models.key_adapter import KeyAdapter
from evqa.models.license import License
from evqa.models.patches import Patches
from evqa.models.pretrained import Kind, PretrainedModel, read_chat
from evqa.models.qwen_preparer import AudioInput, Marks, QwenPreparer, Timing
from evqa.models.recomputation import Recompute
from evqa.models.splice import put
from evqa.prompts.chat import Chat
from evqa.types import SAMPLE_RATE_HZ, Inputs, Part


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


def _audio_input(chat: Chat, config: Any) -> AudioInput:
    mel = LogMel(config.audio_config.num_mel_bins)
    marks = Marks(
        start=chat.token("<|audio_bos|>", configured=config.audio_start_token_id),
        end=chat.token("<|audio_eos|>", configured=config.audio_end_token_id),
        pad=chat.token("<|AUDIO|>", configured=config.audio_token_id),
    )
    return AudioInput(
        marks=marks,
        to_mel=mel,
        num_tokens=num_audio_tokens,
        hop=mel.extractor.hop_length,
        chunk=2 * config.audio_config.n_window,
    )


class Qwen2_5Omni(PretrainedModel):  # noqa: N801
    """The thinker of Qwen2.5-Omni with the towers that the run's modalities need, with or without its LM head.

    checkpoint: a folder or a hub name; revision pins a hub name. min_pixels / max_pixels: area of one frame after
        resizing. seconds_per_grid: time that two frames span; null takes it from the frames' time stamps.
        special_text: see `Chat`.
    """

    modalities: ClassVar[tuple[str, ...]] = ("a", "v", "av")
    inside: ClassVar[str | None] = "thinker_config"
    key_adapter = KeyAdapter(
        prefixes=(
            *(("body.visual", "visual"), ("body.audio_tower", "audio_tower")),
            *(("body.language_model", "model"), ("lm_head", "lm_head")),
        ),
        modules=(("body", "model"), ("lm_head", "lm_head")),
        older=(
            ("thinker.", ""),
            *((f"model.{tower}.", f"{tower}.") for tower in ("visual", "audio_tower")),
            ("model.language_model.", "model."),
        ),
        unused=("talker.*", "token2wav.*"),  # the half that talks
    )

    def __init__(
        self,
        options: BuildOptions,
        *,
        checkpoint: str = "Qwen/Qwen2.5-Omni-7B",
        revision: str | None = "ae9e1690543ffd5c0221dc27f79834d0294cba00",
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa",
        recompute: Recompute = 0.0,
        recompute_media: bool = False,
        min_pixels: Annotated[int, "1 <= min_pixels"] = 128 * 28 * 28,
        max_pixels: Annotated[int, "1 <= max_pixels"] = 768 * 28 * 28,
        seconds_per_grid: Annotated[float, "0 < seconds_per_grid"] | None = None,
        system: str | None = "You are a helpful assistant.",
        special_text: Literal["plain", "parsed"] = "plain",
        license: License | None = None,
    ) -> None:
        from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as omni

        found = find_checkpoint(checkpoint, revision=revision, weights=options.load)
        config = read_config(found, model_type="qwen2_5_omni_thinker", inside=self.inside)
        chat = read_chat(found, config, system=system, special_text=special_text)
        # The positions are computed from this token, though the configuration class has no field for it.
        config.vision_start_token_id = chat.token("<|vision_bos|>")
        kind = Kind(body=omni.Qwen2_5OmniThinkerModel, full=omni.Qwen2_5OmniThinkerForConditionalGeneration)
        super().__init__(kind, config, found, chat, options=options)
        self.license = license
        self.patches = Patches.of(config.vision_config)
        video = Marks(
            start=chat.token("<|vision_bos|>"),
            end=chat.token("<|vision_eos|>"),
            pad=chat.token("<|VIDEO|>", configured=config.video_token_id),
        )
        self.preparer = QwenPreparer(
            ClipSpec(
                frames=FrameStream.of(options.frames, resize=self.patches.resize(min_pixels, max_pixels)),
                audio=options.audio,
            ),
            chat=chat,
            patches=self.patches,
            video=video,
            timing=Timing(times_per_second=config.position_id_per_seconds, seconds_per_grid=seconds_per_grid),
            audio=_audio_input(chat, config),
        )
        towers = {"body.visual": options.frames, "body.audio_tower": options.audio}
        unused = tuple(name for name, wanted in towers.items() if wanted is None)
        self.load(
            dtype=dtype,
            attention=attention,
            recompute=recompute,
            recompute_media=recompute_media,
            unused=unused,
        )

    def exported_settings(self) -> dict[str, Any]:
        """The token that positions are counted from in transformers, for which its configuration has no field."""
        return {"vision_start_token_id": self.architecture.vision_start_token_id}

    def words(self, inputs: Inputs) -> dict[str, Any]:
        """As of the other Qwen models, with sound in its places."""
        words = super().words(inputs)
        if "mel_CRM" in inputs:
            sound_ND = encode_sounds(self.body.audio_tower, inputs["mel_CRM"], inputs.host["mel_rows"])
            words["inputs_embeds"] = put(words["inputs_embeds"], inputs["sound_places_2N"], sound_ND)
        return words

    def media_tokens(self) -> dict[str, int]:
        """Estimate the tokens of one clip; a window without an end counts as its `seconds`."""
        frames = self.preparer.clip.frames
        picture = self.patches.tokens_of_clip(frames.sampling.usual_count, frames.resize) if frames else 0
        audio = self.preparer.clip.audio
        return {"picture": picture, "sound": num_audio_tokens(int(audio.seconds * 100)) if audio else 0}

    def idle_media(self, inputs: Inputs) -> Tensor | None:
        """Encode one black token and one token of silence where the batch has no pictures or no sound."""
        device = inputs["text_BT"].device
        idle = []
        if self.body.visual is not None and "patches_NP" not in inputs:
            idle.append(self.patches.black_token(self.body.visual, device))
        if self.body.audio_tower is not None and "mel_CRM" not in inputs:
            silence_1RM = torch.zeros(1, 4, self.architecture.audio_config.num_mel_bins, device=device)
            idle.append(encode_sounds(self.body.audio_tower, silence_1RM, (4,)))
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
