"""VideoLLaMA2's checkpoints and how its conversations are written."""

from __future__ import annotations

from evqa.models.qwen2_tokenizer import PAD, SYSTEM
from evqa.models.source import Family, Source
from evqa.models.videollama2.dims import PUBLISHED, TINY, Dims, read_dims
from evqa.models.videollama2.layout import SIDE_FILES
from evqa.prompts.chat import Chat

FAMILY = Family(
    name="VideoLLaMA2.1-7B-AV",
    published=PUBLISHED,
    tiny=TINY,
    read=read_dims,
    also=(*SIDE_FILES, "pytorch_model*.bin*"),
)


def build_chat(source: Source[Dims], *, exact: bool, max_text_tokens: int) -> Chat:
    """Make the conversation's format, which is Qwen2's; exact: with the original's faults."""
    return Chat(
        source.tokenizer,
        name=source.name,
        pad=source.tokenizer.token_to_id(PAD),
        system=SYSTEM,
        special_text="parsed" if exact else "plain",
        after_media="\n",
        closes=True,
        max_text_tokens=max_text_tokens,
        cuts_tail=exact,
        is_stand_in=source.bytes_per_token > 1,
    )
