"""The embedded default: a byte tokenizer, small encoders of frames and sound, and a causal transformer with logits.

It exists so that every head, modality and command works on a laptop CPU; it is not meant to be good.

# B batch, F frames, R filter-bank rows, T tokens, D width, N unpadded items, C channels
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from evqa.errors import ConfigError
from evqa.media.resize import Resize
from evqa.media.spec import ClipSpec, FrameStream
from evqa.models.base import BuildOptions, Model, Preparer
from evqa.models.decoding import Prefilled, stream
from evqa.models.lm_head import logits_of
from evqa.models.padded import PaddedOutput
from evqa.models.splice import PLACEHOLDER, Spliced, collate_texts, prepare_text, splice, texts_of
from evqa.models.tiny_text import END, PAD, VOCABULARY, ByteChat, decode, word_id
from evqa.models.tiny_trunk import Past, Trunk
from evqa.prompts.decoding import Decoding
from evqa.types import Clip, Inputs, Output, Part, Prepared, Turn

ROWS_PER_TOKEN = 16  # filter-bank rows (10 ms each) behind one audio token


class TinyPreparer(Preparer):
    """Bytes of the conversation beside the files' frames and filter banks; every file is one stream."""

    def __init__(self, clip: ClipSpec, *, max_bytes: int) -> None:
        self.clip, self.chat = clip, ByteChat(max_bytes=max_bytes)

    def prepare(self, turns: Sequence[Turn], clips: Sequence[Clip]) -> Prepared:
        """Keep only what is there: no frames or no sound means no tokens."""
        return prepare_text(self.chat.encode(turns, [[PLACEHOLDER]] * len(clips))) | {
            "frames": [clip.frames_FHWC for clip in clips],
            "fbanks": [clip.fbank_RM if _has_token(clip.fbank_RM) else None for clip in clips],
        }

    def collate(self, items: Sequence[Prepared]) -> Inputs:
        """Concatenate what exists; pad text and sound on the right. Counts are those of all files in a row."""
        inputs = collate_texts(items, pad=PAD)
        every = {name: [one for item in items for one in item[name]] for name in ("frames", "fbanks")}
        frames, fbanks = ([one for one in every[name] if one is not None] for name in ("frames", "fbanks"))
        tensors = dict(inputs.tensors)
        if frames:
            tensors["frames_NHWC"] = torch.cat(frames)
        if fbanks:
            tensors["fbank_NRM"] = nn.utils.rnn.pad_sequence(fbanks, batch_first=True)
        counts = {f"num_{name}": tuple(0 if one is None else len(one) for one in every[name]) for name in every}
        return Inputs(tensors=tensors, host=inputs.host | counts)


def _has_token(fbank_RM: Tensor | None) -> bool:
    return fbank_RM is not None and len(fbank_RM) >= ROWS_PER_TOKEN


class FrameEncoder(nn.Module):
    """One token a frame: features of 4x4 patches, their mean and maximum over the picture."""

    def __init__(self, width: int, *, patch: int = 4, features: int = 32) -> None:
        super().__init__()
        self.patch = patch
        self.stem = nn.Sequential(nn.Linear(3 * patch * patch, features), nn.GELU(), nn.Linear(features, features))
        self.project = nn.Sequential(nn.LayerNorm(2 * features), nn.Linear(2 * features, width))

    def forward(self, frames_NHWC: Tensor) -> Tensor:
        """Map uint8 frames to tokens [N, D]; rows and columns that do not fill a patch are dropped."""
        rows, columns = frames_NHWC.shape[1] // self.patch, frames_NHWC.shape[2] // self.patch
        whole_NHWC = frames_NHWC[:, : rows * self.patch, : columns * self.patch]
        windows = whole_NHWC.unflatten(2, (columns, self.patch)).unflatten(1, (rows, self.patch)).transpose(2, 3)
        pixels_NPC = windows.flatten(3).flatten(1, 2).float().div_(127.5).sub_(1.0)
        patches_NPC = functional.gelu(self.stem(pixels_NPC.to(next(self.parameters()).dtype)))
        tokens_ND: Tensor = self.project(torch.cat([patches_NPC.mean(1), patches_NPC.amax(1)], -1))
        return tokens_ND


class AudioEncoder(nn.Module):
    """One token for every 16 rows (0.16 s) of the filter bank; rows that do not fill a token are dropped."""

    def __init__(self, width: int, *, features: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(128, features), nn.GELU())
        self.project = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))

    def forward(self, fbank_NRM: Tensor) -> Tensor:
        """Map log-mel rows to tokens [N, T, D]; 12 and 6 are about the mean and spread of speech and music."""
        rows_NTRM = fbank_NRM.unfold(1, ROWS_PER_TOKEN, ROWS_PER_TOKEN).transpose(2, 3)
        scaled_NTM = (rows_NTRM.mean(2) - 12.0) / 6.0
        tokens_NTD: Tensor = self.project(self.stem(scaled_NTM.to(next(self.parameters()).dtype)))
        return tokens_NTD


class Text(nn.Module):
    """Every byte seen together with the bytes before it, so that words are known without deep layers."""

    def __init__(self, width: int, *, reach: int = 8, features: int = 16) -> None:
        super().__init__()
        self.reach = reach
        self.embed = nn.Embedding(VOCABULARY, features)
        self.mix = nn.Sequential(nn.Linear(reach * features, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, text_BT: Tensor) -> Tensor:
        """Map token ids to [B, T, D]; causal, so padding on the right changes nothing."""
        bytes_BTC = functional.pad(self.embed(text_BT), (0, 0, self.reach - 1, 0))
        windows_BTC = bytes_BTC.unfold(1, self.reach, 1).flatten(2)
        mixed_BTD: Tensor = self.mix(windows_BTC)
        return mixed_BTD

    def last_window(self, text_BT: Tensor, last: Sequence[int]) -> Tensor:
        """Return the ids [B, R] that the position `last` of each row is seen with; -1 before the beginning."""
        padded_BT = functional.pad(text_BT, (self.reach - 1, 0), value=-1)
        return torch.stack([padded_BT[row, place : place + self.reach] for row, place in enumerate(last)])

    def embed_last(self, window_BR: Tensor) -> Tensor:
        """Map windows of ids to what the last of each is embedded as, [B, D]."""
        bytes_BRC = self.embed(window_BR.clamp_min(0)) * (window_BR >= 0).unsqueeze(-1)
        mixed_BD: Tensor = self.mix(bytes_BRC.transpose(1, 2).flatten(1))
        return mixed_BD


class Tiny(Model):
    """A few hundred thousand parameters, built with random weights; sequence: frames, sound, text."""

    modalities: ClassVar[tuple[str, ...]] = ("a", "v", "av")
    generates: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 2e-3
    reads_questions: ClassVar[bool] = False
    max_files: ClassVar[int] = 8

    def __init__(
        self,
        options: BuildOptions,
        *,
        width: Annotated[int, "4 <= width <= 16384"] = 64,
        num_layers: Annotated[int, "1 <= num_layers <= 256"] = 2,
        num_heads: Annotated[int, "1 <= num_heads <= 256"] = 4,
        max_tokens: Annotated[int, "1 <= max_tokens <= 1000000"] = 4096,
        max_bytes: Annotated[int, "1 <= max_bytes"] = 1024,
        image_size: Annotated[int, "4 <= image_size <= 4096"] = 64,
        resize: Literal["square", "pad"] = "pad",
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ConfigError([f"model.width={width}: must be a multiple of model.num_heads={num_heads}."])
        self.width = width
        self.options = options
        spec = ClipSpec(
            frames=FrameStream.of(options.frames, resize=Resize(mode=resize, size=image_size)),
            audio=options.audio,
            audio_as="fbank",
        )
        self.preparer = TinyPreparer(spec, max_bytes=max_bytes)
        self.vision = FrameEncoder(width) if options.frames else None
        self.audio = AudioEncoder(width) if options.audio else None
        self.text = Text(width)
        self.trunk = Trunk(width, num_layers=num_layers, num_heads=num_heads, max_tokens=max_tokens)
        self.lm_head = nn.Linear(width, VOCABULARY, bias=False) if options.logits else None

    def parts(self) -> tuple[Part, ...]:
        """The encoders of frames, audio and text count as connectors: LoRA recipes train those fully.

        A pretrained model's embeddings may stay as they are; these are random.
        """
        projections = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
        connectors = ("text",) if self.vision is None else ("vision", "text")
        every = (
            Part(name="connector", prefixes=connectors),
            Part(name="audio_connector", prefixes=("audio",)),
            Part(name="language", prefixes=("trunk",), linear_names=projections),
            Part(name="lm_head", prefixes=("lm_head",)),
        )
        return tuple(part for part in every if getattr(self, part.prefixes[-1]) is not None)

    def tokens_per_sample(self) -> dict[str, int]:
        """One token a frame, one for 0.16 s of sound, one a byte (about 100 in SnapUGC's titles and descriptions)."""
        frames, audio = self.options.frames, self.options.audio
        return {
            "text": 100,
            "picture": frames.usual_count if frames else 0,
            "sound": int(audio.seconds * 100 / ROWS_PER_TOKEN) if audio else 0,
        }

    def forward(self, inputs: Inputs) -> Output:
        """Encode, join, run the trunk."""
        spliced = self._spliced(inputs)
        return PaddedOutput(
            hidden_BTD=self.trunk(spliced.embeds_BTD),
            mask_BT=spliced.mask_BT,
            lengths=spliced.lengths,
            answer_B=spliced.answer_B,
            targets=spliced.targets,
            lm_head=self.lm_head,
            to_id=word_id,
        )

    def generate(self, inputs: Inputs, decoding: Decoding) -> Iterator[list[str]]:
        """Continue every conversation with a key-value cache."""
        with torch.no_grad():
            prefilled = self._prefill(inputs)
        return stream(prefilled, decoding, ends={END}, to_text=decode)

    def _prefill(self, inputs: Inputs) -> Prefilled:
        spliced = self._spliced(inputs)
        past = [Past() for _ in self.trunk.layers]
        hidden_BTD = self.trunk(spliced.embeds_BTD[:, : int(spliced.answer_B.max()) + 1], past=past)
        rows_B = torch.arange(len(hidden_BTD), device=hidden_BTD.device)
        position_T = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)
        window_BR = self.text.last_window(inputs["text_BT"], inputs.host["answers"])
        following = _Following(
            self, past, window_BR, position_B=spliced.answer_B, mask_BT=position_T <= spliced.answer_B.unsqueeze(1)
        )
        return Prefilled(logits_BV=logits_of(self.lm_head, hidden_BTD[rows_B, spliced.answer_B]), step=following.step)

    def _spliced(self, inputs: Inputs) -> Spliced:
        texts, media = texts_of(inputs), iter(self._media_tokens(inputs))
        files = [[next(media) for _ in places] for places in texts.places]
        return splice(self.text(texts.ids_BT), texts, files)

    def _media_tokens(self, inputs: Inputs) -> list[Tensor]:
        """Return for every file its frame tokens followed by its audio tokens, [N, D]."""
        frame_counts, row_counts = inputs.host["num_frames"], inputs.host["num_fbanks"]
        nothing = self._no_tokens(inputs)
        frames = (
            self.vision(inputs["frames_NHWC"]).split([count for count in frame_counts if count])
            if self.vision is not None and "frames_NHWC" in inputs
            else ()
        )
        sounds = list(self.audio(inputs["fbank_NRM"])) if self.audio is not None and "fbank_NRM" in inputs else []
        next_frames, next_sounds = iter(frames), iter(sounds)
        media = []
        for num_frames, num_rows in zip(frame_counts, row_counts, strict=True):
            frame_tokens = next(next_frames) if num_frames and frames else nothing
            audio_tokens = next(next_sounds)[: num_rows // ROWS_PER_TOKEN] if num_rows and sounds else nothing
            media.append(torch.cat([frame_tokens, audio_tokens]))
        return media

    def _no_tokens(self, inputs: Inputs) -> Tensor:
        """No tokens; in distributed training they carry a zero gradient, so that every process visits every part."""
        none_0D = self.trunk.position.weight[:0]
        if not (self.training and torch.distributed.is_available() and torch.distributed.is_initialized()):
            return none_0D
        idle, device = [none_0D], none_0D.device
        if self.vision is not None and "frames_NHWC" not in inputs:
            shape = (1, self.vision.patch, self.vision.patch, 3)
            idle.append(self.vision(torch.zeros(shape, dtype=torch.uint8, device=device))[:0])
        if self.audio is not None and "fbank_NRM" not in inputs:
            idle.append(self.audio(torch.zeros((1, ROWS_PER_TOKEN, 128), device=device))[0, :0])
        return torch.cat(idle)


class _Following:
    """The tokens behind the prompts of a batch."""

    def __init__(
        self, model: Tiny, past: list[Past], window_BR: Tensor, *, position_B: Tensor, mask_BT: Tensor
    ) -> None:
        self.model, self.past, self.window_BR = model, past, window_BR
        self.position_B, self.mask_BT = position_B, mask_BT

    def step(self, ids_B: Tensor) -> Tensor:
        """Append a token to every row; rows that have ended stay where they are. Returns the logits behind it."""
        self.position_B = self.position_B + (ids_B != END)
        self.window_BR = torch.cat([self.window_BR[:, 1:], ids_B.unsqueeze(1)], dim=1)
        self.mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(ids_B), 1)], dim=1)
        embeds_BD = self.model.text.embed_last(self.window_BR)
        hidden_BD = self.model.trunk.step(embeds_BD, position_B=self.position_B, mask_BT=self.mask_BT, past=self.past)
        return logits_of(self.model.lm_head, hidden_BD)
