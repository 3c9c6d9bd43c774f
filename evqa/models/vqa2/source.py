"""VQA²'s checkpoints and how their conversations are written."""

from __future__ import annotations

from evqa.models.qwen2_tokenizer import PAD, SYSTEM
from evqa.models.source import Family, Source
from evqa.models.vqa2.dims import PUBLISHED, TINY, Vqa2Dims, read_dims
from evqa.prompts.chat import Chat

FAMILY = Family(name="VQA²", published=PUBLISHED, tiny=TINY, read=read_dims)


def build_chat(source: Source[Vqa2Dims], *, exact: bool) -> Chat:
    """Make the conversation's format, which is Qwen2's. It ends at the token that the score is read from.

    The original closes the last turn, too, and reads the logits three places before the end: the same place.
    """
    return Chat(
        source.tokenizer,
        name=source.name,
        pad=source.tokenizer.token_to_id(PAD),
        system=SYSTEM,
        special_text="parsed" if exact else "plain",
        learns="llava" if exact else "answers",
        is_stand_in=source.bytes_per_token > 1,
    )
