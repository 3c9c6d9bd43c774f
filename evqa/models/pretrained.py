"""What the models that transformers provides have in common: loading, hidden states, logits, generation, export.

# B batch, T tokens, D width, N positions, V vocabulary
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from evqa.errors import CheckpointError, ConfigError
from evqa.models.base import BuildOptions, Model
from evqa.models.cached import CachedPrompts
from evqa.models.decoding import Prefilled, stream
from evqa.models.exporting import base_entries, copy_settings, dtype_of, entries_of, write_json, write_weights
from evqa.models.hub import Checkpoint, plain_settings, read_tokenizer
from evqa.models.padded import PaddedOutput
from evqa.models.patches import Patches
from evqa.models.qwen_folder import both_rotary_forms, seconds_between, with_dtype, write_video_settings
from evqa.models.qwen_preparer import Marks, QwenPreparer
from evqa.models.recomputation import Recompute
from evqa.models.segments import use_segments
from evqa.models.splice import put, targets_of
from evqa.models.weights import build_empty, load_weights, read_head
from evqa.prompts.chat import Chat
from evqa.prompts.decoding import Decoding
from evqa.types import Inputs, Output, Part

Dtype = Literal["bfloat16", "float32"]
Attention = Literal["sdpa", "flash_attention_2", "eager"]
TEXT_TOKENS = 120  # the default question with a title and a description of usual length
LM_HEAD = "lm_head.weight"
LANGUAGE_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def read_chat(
    checkpoint: Checkpoint, config: Any, *, system: str | None, special_text: Literal["plain", "parsed"]
) -> Chat:
    """Make the chat of a checkpoint's own tokenizer."""
    tokenizer = read_tokenizer(checkpoint, vocab_size=config.get_text_config().vocab_size)
    return Chat(
        tokenizer.backend_tokenizer,
        name=checkpoint.name,
        pad=tokenizer.pad_token_id,
        system=system,
        special_text=special_text,
    )


def vision_marks(chat: Chat, *, pad: int) -> Marks:
    """Look up the ids that stand around and for a video."""
    return Marks(
        start=chat.token("<|vision_start|>"),
        end=chat.token("<|vision_end|>"),
        pad=chat.token("<|video_pad|>", configured=pad),
    )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The transformers classes of a model: without an LM head (`body`) and with it (`full`)."""

    body: type
    full: type


class PretrainedModel(Model):
    """A chat model from transformers. `body` holds towers and language model, `lm_head` exists where logits are read.

    Names below the model are the same with and without an LM head, so adapters and checkpoints fit both.
    """

    preparer: QwenPreparer
    lm_head: nn.Module | None
    patches: Patches
    max_files: ClassVar[int] = 8
    inside: ClassVar[str | None] = None  # the part of a larger checkpoint's config.json that is this model

    def __init__(self, kind: Kind, config: Any, checkpoint: Checkpoint, chat: Chat, *, options: BuildOptions) -> None:
        super().__init__()
        # Not named `config`: peft would take this class for one of transformers' own.
        self.architecture, self.checkpoint, self.chat = config, checkpoint, chat
        self.width = int(config.get_text_config().hidden_size)
        self._kind, self._options = kind, options
        self.hide_padding = options.hide_padding

    def load(
        self,
        *,
        dtype: Dtype,
        attention: Attention,
        recompute: Recompute,
        recompute_media: bool,
        unused: tuple[str, ...],
    ) -> None:
        """Build the parts that are needed and read weights (`BuildOptions.load`). unused: modules that are left out."""
        kind = self._kind.full if self._options.logits else self._kind.body
        whole = build_empty(kind, self.architecture, dtype=dtype, attention=attention)
        self.body: Any = whole.model if self._options.logits else whole
        self.lm_head = whole.lm_head if self._options.logits else None
        whole.tie_weights()  # a shared LM head is one weight
        complete = {*self.state_dict(), LM_HEAD}
        for name in unused:
            parent, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(parent), leaf, None)
        self._options.give_weights(partial(self._read_weights, complete))
        if attention == "sdpa":
            for tower in filter(None, (self.body.visual, getattr(self.body, "audio_tower", None))):
                use_segments(tower)
        # A tuple hides the wrapper from torch: its parts are registered above, under names that do not depend on it.
        self._whole = (whole,)
        self.recompute_activations(recompute, media=recompute_media)

    def _read_weights(self, complete: set[str]) -> None:
        device = self._options.device
        load_weights(self, self.checkpoint, self.key_adapter, complete=complete, device=device)
        self.to(device)  # the buffers, which are computed

    def words(self, inputs: Inputs) -> dict[str, Any]:
        """Name what the language model reads: text embeddings [B, T, D] with encoded media in their places."""
        words_BTD = self.body.language_model.embed_tokens(inputs["text_BT"])
        if "patches_NP" not in inputs:
            return {"inputs_embeds": words_BTD}
        frames_ND = self.patches.encode(self.body.visual, inputs).pooler_output
        return {"inputs_embeds": put(words_BTD, inputs["frame_places_2N"], frames_ND)}

    @abstractmethod
    def media_tokens(self) -> dict[str, int]:
        """Estimate the tokens of one sample's `picture` and `sound`."""

    @abstractmethod
    def idle_media(self, inputs: Inputs) -> Tensor | None:
        """Run the towers that this batch does not need on the smallest input; None where all are needed."""

    def forward(self, inputs: Inputs) -> Output:
        """Run the model once on right-padded inputs."""
        mask_BT = inputs["mask_BT"]
        hidden_BTD = self.body.language_model(
            attention_mask=mask_BT.long() if self.hide_padding else None,
            position_ids=inputs["position_3BT"],
            use_cache=False,
            **self.words(inputs),
        ).last_hidden_state
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Every rank must run every tower, or gradient exchange and sharded weights wait for ever.
            idle = self.idle_media(inputs)
            hidden_BTD = hidden_BTD if idle is None else hidden_BTD + 0.0 * idle.sum()
        return PaddedOutput(
            hidden_BTD=hidden_BTD,
            mask_BT=mask_BT,
            lengths=inputs.host["lengths"],
            answer_B=inputs["answer_B"],
            lm_head=self.lm_head,
            to_id=self.chat.word_id,
            targets=targets_of(inputs),
        )

    def generate(self, inputs: Inputs, decoding: Decoding) -> Iterator[list[str]]:
        """Continue every conversation; the checkpoint's own sampling is not used."""
        return stream(self.prefill(inputs), decoding, ends={self.chat.end, self.chat.pad}, to_text=self.chat.decode)

    @torch.no_grad()
    def prefill(self, inputs: Inputs) -> Prefilled:
        """Read every conversation up to its answer's place; new text follows the last position on all axes."""
        if self.lm_head is None:
            raise ConfigError(["this model was built without its LM head, so it cannot generate"])
        text_BT, answer_B, position_3BT = inputs["text_BT"], inputs["answer_B"], inputs["position_3BT"]
        language, words = self.body.language_model, self.words(inputs)
        cached = CachedPrompts(language, lm_head=self.lm_head, answer_B=answer_B, num_axes=3)
        words["inputs_embeds"] = words["inputs_embeds"][:, : cached.num_tokens]
        read = partial(language, position_ids=position_3BT[:, :, : cached.num_tokens], **words)
        answers = inputs.host["answers"]
        return cached.prefill(
            read,
            position_B=position_3BT[0].gather(1, answer_B.unsqueeze(1))[:, 0],
            prompts=[row[: answer + 1] for row, answer in zip(text_BT.tolist(), answers, strict=True)],
        )

    def frozen_parts(self) -> tuple[str, ...]:
        """The towers stay as they are unless a recipe trains them."""
        return ("vision", "audio")

    def base_name(self) -> str:
        """Checkpoint and revision."""
        return self.checkpoint.label

    def is_published(self, name: str) -> bool:
        """Every weight was read from the checkpoint: `load_weights` refuses one that lacks some."""
        return True

    def tokens_per_sample(self) -> dict[str, int]:
        """Count the tokens of the prompt, of a portrait clip at the configured budget, and of the audio window."""
        return {"text": TEXT_TOKENS, **self.media_tokens()}

    def language_parts(self) -> tuple[Part, ...]:
        """The language model and, where it has weights of its own, the LM head."""
        language = Part(name="language", prefixes=("body.language_model",), linear_names=LANGUAGE_LINEARS)
        tied = self.lm_head is not None and self.lm_head.weight is self.body.language_model.embed_tokens.weight
        head = Part(name="lm_head", prefixes=("lm_head",))
        return (language,) if self.lm_head is None or tied else (language, head)

    def head_state(self) -> dict[str, Tensor]:
        """Read the head that `evqa.merge` writes beside the weights."""
        return read_head(self.checkpoint, self.key_adapter, width=self.width)

    def export(self, folder: Path, *, head_state: Mapping[str, Tensor]) -> None:
        """Write a complete Hugging Face folder: parts that were not built are taken over from the base."""
        del head_state  # transformers has no place for them
        dtype = dtype_of(self)
        own = entries_of(self, self.key_adapter)
        keys = {name: self.key_adapter.key_of(name) for name in self._complete_names()}
        rest = {name: key for name, key in keys.items() if key not in own}
        base = base_entries(self.checkpoint, self.key_adapter, rest, dtype=dtype)
        if missing := [key for key in rest.values() if key not in base]:
            raise CheckpointError(
                f"model.checkpoint={self.checkpoint.name}: an export takes over what was not built, and the base "
                f"lacks {', '.join(missing[:20])}. Complete the base, or build the model whole."
            )
        write_weights(base | own, folder, self.key_adapter)
        settings = plain_settings(self.checkpoint, inside=self.inside)
        settings |= {"architectures": [self.published_class()], **self.exported_settings()}
        write_json(folder / "config.json", with_dtype(both_rotary_forms(settings), str(dtype)))
        copy_settings(self.checkpoint, folder)
        if video := self.video_settings():
            write_video_settings(folder, video)

    def _complete_names(self) -> list[str]:
        """Our names of all weights that the class with an LM head has; a shared one once."""
        whole = build_empty(self._kind.full, self.architecture, dtype="float32", attention="sdpa")
        whole.tie_weights()
        return [_own_name(name) for name, _ in whole.named_parameters()]

    def published_class(self) -> str:
        """Name the class of transformers with an LM head."""
        return self._kind.full.__name__

    def how_to_load(self) -> str:
        """Say what a merged folder gives in other hands, and what it does not."""
        return (
            "`model.checkpoint=FOLDER` gives evqa the scorer as it was evaluated.\n"
            f"`transformers.{self.published_class()}.from_pretrained(FOLDER)` (transformers 4.57 or later) gives the\n"
            "same hidden states for the same inputs, position ids included; `head.safetensors` makes scores of them.\n"
            "transformers' own processor chooses other frames, writes another prompt and may count positions\n"
            "otherwise: what the model is fed with decides the score."
        )

    def video_settings(self) -> dict[str, Any]:
        """Settings with which transformers' video processor sizes frames as they were trained with; empty without."""
        clip, patches = self.preparer.clip, self.patches
        if clip.frames is None:
            return {}
        between = seconds_between(clip.frames.sampling)
        per_grid = self.preparer.timing.seconds_per_grid
        if per_grid is None and between is not None:
            per_grid = between * patches.temporal
        budget = {"min_pixels": clip.frames.resize.min_pixels, "max_pixels": clip.frames.resize.max_pixels}
        return {
            "video_processor_type": "Qwen2VLVideoProcessor",
            "size": {"shortest_edge": clip.frames.resize.min_pixels, "longest_edge": clip.frames.resize.max_pixels},
            **budget,
            **{"patch_size": patches.size, "temporal_patch_size": patches.temporal, "merge_size": patches.merge},
            **{"image_mean": list(patches.mean), "image_std": list(patches.std)},
            **{"do_sample_frames": False, "cap_pixels_per_frame": False},
            **({} if between is None else {"fps": 1 / between}),
            "seconds_per_grid": per_grid,
        }

    def exported_settings(self) -> dict[str, Any]:
        """What an export's config.json must say beside the base's own settings."""
        return {}


def _own_name(name: str) -> str:
    """Translate a name below the transformers class with an LM head: its `model` is our `body`."""
    return f"body.{name.removeprefix('model.')}" if name.startswith("model.") else name
