"""The embedded default: a byte tokenizer, small encoders of frames and sound, and a causal transformer with logits.

It exists so that every head, modality and command works on a laptop CPU; it is not meant to be good.

# B batch, F frames, R filter-bank rows, T tokens, D width, N unpadded items, C channels
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from evqa.errors import ConfigError
from evqa.media.clip import ClipSpec
from evqa.media.resize import Resize
from evqa.models.base import BuildOptions, Cost, Model, Preparer
from evqa.prompts.prompt import Prompt
from evqa.types import Answer, Clip, Output, Part, Prepared, Record

PAD, END = 256, 257
# Words that are single tokens, so that the head `levels` works; user text is always bytes.
WORDS = (" high", " good", " fair", " poor", " low", " excellent", " bad")
VOCABULARY = 258 + len(WORDS)
ROWS_PER_TOKEN = 16  # filter-bank rows (10 ms each) behind one audio token


def encode(text: str) -> list[int]:
    """UTF-8 bytes; no text, however odd, becomes a special token."""
    return list(text.encode())


def decode(tokens: Sequence[int]) -> str:
    """Inverse of `encode` up to the first end token; word tokens are spelled out."""
    text = b""
    for token in tokens:
        if token == END:
            break
        text += WORDS[token - 258].encode() if token >= 258 else bytes([token]) if token < 256 else b""
    return text.decode(errors="replace")


def word_id(word: str) -> int:
    """Look up a word that is one token of the tiny vocabulary."""
    if word not in WORDS:
        raise ConfigError([f"head.words: {word!r} is not a single token of the tiny model. It has: {list(WORDS)}"])
    return 258 + WORDS.index(word)


class TinyPreparer(Preparer):
    """Bytes of the prompt beside the clip's frames and filter bank."""

    def __init__(self, clip: ClipSpec, *, prompt: Prompt, max_bytes: int) -> None:
        self.clip, self.prompt, self.max_bytes = clip, prompt, max_bytes

    def prepare(self, record: Record, clip: Clip, answer: Answer) -> Prepared:
        """Keep only what is there: no frames or no sound means no tokens."""
        question = encode(self.prompt.text(record))[: self.max_bytes] + encode("\n" + answer.prefix)
        target = [] if answer.target is None else [*encode(answer.target), END]
        has_sound = clip.fbank_RM is not None and len(clip.fbank_RM) >= ROWS_PER_TOKEN
        return {
            "frames_FHWC": clip.frames_FHWC,
            "fbank_RM": clip.fbank_RM if has_sound else None,
            "text_T": torch.tensor(question + target),
            "num_targets": len(target),
        }

    def collate(self, items: Sequence[Prepared]) -> dict[str, Tensor]:
        """Concatenate what exists, with the sample's number beside each piece; pad text on the right."""
        if not items:
            raise ValueError("cannot collate an empty list of samples")
        frames = [item["frames_FHWC"] for item in items if item["frames_FHWC"] is not None]
        fbanks = [item["fbank_RM"] for item in items if item["fbank_RM"] is not None]
        batch = {
            "text_BT": nn.utils.rnn.pad_sequence([i["text_T"] for i in items], batch_first=True, padding_value=PAD),
            "num_text_B": torch.tensor([len(item["text_T"]) for item in items]),
            "num_targets_B": torch.tensor([item["num_targets"] for item in items]),
            "num_frames_B": torch.tensor([0 if i["frames_FHWC"] is None else len(i["frames_FHWC"]) for i in items]),
            "num_rows_B": torch.tensor([0 if item["fbank_RM"] is None else len(item["fbank_RM"]) for item in items]),
        }
        if frames:
            batch["frames_NHWC"] = torch.cat(frames)
        if fbanks:
            batch["fbank_NRM"] = nn.utils.rnn.pad_sequence(fbanks, batch_first=True)
        return batch


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
        patches_NPC = functional.gelu(self.stem(pixels_NPC))
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
        tokens_NTD: Tensor = self.project(self.stem((rows_NTRM.mean(2) - 12.0) / 6.0))
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


class Block(nn.Module):
    """A pre-norm transformer layer with the projection names that LoRA recipes expect."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.up_proj, self.down_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Attend causally; padding lies on the right, so no real position ever sees it."""
        normed_BTD = self.norm_attention(hidden_BTD)
        query, key, value = (
            projection(normed_BTD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden_BTD = hidden_BTD + self.o_proj(attended.transpose(1, 2).flatten(2))
        expanded_BTD: Tensor = self.down_proj(functional.gelu(self.up_proj(self.norm_mlp(hidden_BTD))))
        return hidden_BTD + expanded_BTD


class Trunk(nn.Module):
    """The causal transformer: learned positions, layers, final norm."""

    def __init__(self, width: int, *, num_layers: int, num_heads: int, max_tokens: int) -> None:
        super().__init__()
        self.position = nn.Embedding(max_tokens, width)
        self.layers = nn.ModuleList(Block(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, embeds_BTD: Tensor) -> Tensor:
        """Return the hidden states after the final norm."""
        if embeds_BTD.shape[1] > len(self.position.weight):
            limit, length = len(self.position.weight), embeds_BTD.shape[1]
            raise ConfigError(
                [f"model.max_tokens={limit}: a sample has {length} tokens; use fewer frames or less sound"]
            )
        hidden_BTD = embeds_BTD + self.position.weight[: embeds_BTD.shape[1]]
        for layer in self.layers:
            hidden_BTD = layer(hidden_BTD)
        normed_BTD: Tensor = self.norm(hidden_BTD)
        return normed_BTD


class Tiny(Model):
    """A few hundred thousand parameters, built with random weights; sequence: frames, sound, text."""

    modalities: ClassVar[tuple[str, ...]] = ("a", "v", "av")
    generates: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 2e-3

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
        prompt: Prompt | None = None,
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ConfigError([f"model.width={width}: must be a multiple of model.num_heads={num_heads}."])
        self.width = width
        self.options = options
        spec = ClipSpec(
            frames=options.frames,
            audio=options.audio,
            resize=Resize(mode=resize, size=image_size),
            audio_as="fbank",
        )
        self.preparer = TinyPreparer(spec, prompt=prompt or options.prompt, max_bytes=max_bytes)
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

    def cost_per_sample(self) -> Cost:
        """One token a frame, one for 0.16 s of sound, one a byte (about 100 in SnapUGC's titles and descriptions)."""
        frames, audio = self.options.frames, self.options.audio
        tokens = {
            "text": 100,
            "picture": frames.count if frames else 0,
            "sound": int(audio.seconds * 100 / ROWS_PER_TOKEN) if audio else 0,
        }
        return Cost(tokens=tokens, num_layers=len(self.trunk.layers), width=self.width, mlp_width=4 * self.width)

    def forward(self, inputs: dict[str, Tensor]) -> Output:
        """Encode, join, run the trunk."""
        media = self._media_tokens(inputs)
        embeds_BTD, mask_BT = self._join(media, inputs["text_BT"], inputs["num_text_B"])
        num_media_B = torch.tensor([len(tokens) for tokens in media], device=mask_BT.device)
        answer_B = num_media_B + inputs["num_text_B"] - inputs["num_targets_B"] - 1
        return Output(
            hidden_BTD=self.trunk(embeds_BTD),
            mask_BT=mask_BT,
            answer_B=answer_B,
            logits_at=self._logits,
            word_id=word_id,
            generate=lambda max_new_tokens: self._generate(media, inputs, max_new_tokens),
            target_BT=self._targets(inputs, answer_B, mask_BT) if int(inputs["num_targets_B"].sum()) else None,
        )

    def _media_tokens(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """Return for every sample its frame tokens followed by its audio tokens, [N, D]."""
        frame_counts = inputs["num_frames_B"].tolist()
        token_counts = (inputs["num_rows_B"] // ROWS_PER_TOKEN).tolist()
        nothing = self.trunk.position.weight[:0]
        frames = (
            self.vision(inputs["frames_NHWC"]).split([count for count in frame_counts if count])
            if self.vision is not None and "frames_NHWC" in inputs
            else ()
        )
        sounds = list(self.audio(inputs["fbank_NRM"])) if self.audio is not None and "fbank_NRM" in inputs else []
        next_frames, next_sounds = iter(frames), iter(sounds)
        media = []
        for num_frames, num_tokens in zip(frame_counts, token_counts, strict=True):
            seen = next(next_frames) if num_frames and frames else nothing
            heard = next(next_sounds)[:num_tokens] if num_tokens and sounds else nothing
            media.append(torch.cat([seen, heard]))
        return media

    def _join(self, media: list[Tensor], text_BT: Tensor, num_text_B: Tensor) -> tuple[Tensor, Tensor]:
        text_BTD = self.text(text_BT)
        rows = [
            torch.cat([tokens, words[:count]])
            for tokens, words, count in zip(media, text_BTD, num_text_B.tolist(), strict=True)
        ]
        lengths_B = torch.tensor([len(row) for row in rows], device=text_BT.device)
        embeds_BTD = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask_BT = torch.arange(embeds_BTD.shape[1], device=text_BT.device) < lengths_B.unsqueeze(1)
        return embeds_BTD, mask_BT

    def _logits(self, hidden_ND: Tensor) -> Tensor:
        if self.lm_head is None:
            raise RuntimeError("the model was built without its LM head, but a head asked for logits")
        logits_NV: Tensor = self.lm_head(hidden_ND)
        return logits_NV

    @staticmethod
    def _targets(inputs: dict[str, Tensor], answer_B: Tensor, mask_BT: Tensor) -> Tensor:
        target_BT = torch.full(mask_BT.shape, -100, dtype=torch.long, device=mask_BT.device)
        pieces = zip(inputs["text_BT"], inputs["num_text_B"].tolist(), inputs["num_targets_B"].tolist(), strict=True)
        for row, (text_T, num_text, num_targets) in enumerate(pieces):
            start = int(answer_B[row])
            target_BT[row, start : start + num_targets] = text_T[num_text - num_targets : num_text]
        return target_BT

    def _generate(self, media: list[Tensor], inputs: dict[str, Tensor], max_new_tokens: int) -> list[str]:
        """Greedy, one sample at a time, so that an answer never depends on its neighbours."""
        kept = (inputs["num_text_B"] - inputs["num_targets_B"]).tolist()
        answers = []
        for row, (tokens, count) in enumerate(zip(media, kept, strict=True)):
            text_T, new_tokens = inputs["text_BT"][row, :count], list[int]()
            while len(new_tokens) < max_new_tokens and END not in new_tokens:
                hidden_TD = self.trunk(torch.cat([tokens, self.text(text_T[None])[0]])[None])[0]
                new_tokens.append(int(self._logits(hidden_TD[-1:]).argmax()))
                text_T = torch.cat([text_T, text_T.new_tensor(new_tokens[-1:])])
            answers.append(decode(new_tokens))
        return answers
