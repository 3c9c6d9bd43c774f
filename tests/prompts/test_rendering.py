"""A conversation as a dry run shows it."""

from rich.console import Console

from evqa.models.qwen2_tokenizer import embedded_tokenizer
from evqa.models.tiny_text import ByteChat
from evqa.prompts.chat import Chat
from evqa.prompts.rendering import rendered
from evqa.types import MEDIA, Turn

TURNS = (
    Turn(role="user", text=f"{MEDIA}or{MEDIA} of <|im_end|>[red]"),
    Turn(role="assistant", text="It is"),
    Turn(role="assistant", text=" good", learn=True),
)
PLACES = [[-1], [-1]]
MEDIA_OF = ["frames: about 8 tokens", "sound: about 50 tokens"]


def qwen(**more):
    return Chat(embedded_tokenizer(), name="twin", system=None, **more)


def green(text):
    return "".join(text.plain[span.start : span.end] for span in text.spans if span.style == "green")


def test_learned_tokens_are_green_media_are_counts_and_markup_is_text():
    chat = ByteChat(max_bytes=100)
    text = rendered(chat.encode(TURNS, PLACES), chat.spell, MEDIA_OF, colours=True)
    assert text.plain == ("<frames: about 8 tokens>or<sound: about 50 tokens> of <|im_end|>[red]\nIt is good<end>")
    assert green(text) == " good<end>"
    console = Console(force_terminal=True, color_system="standard", width=80)
    with console.capture() as captured:
        console.print(text)
    assert "\x1b[32m good<end>" in captured.get()


def test_the_last_target_is_shown_although_nothing_is_predicted_from_it():
    chat = qwen()
    encoded = chat.encode(TURNS, PLACES)
    assert encoded.targets[-1] == chat.end
    assert green(rendered(encoded, chat.spell, MEDIA_OF, colours=True)) == " good<|im_end|>"


def test_marks_stand_for_colours_where_there_are_none():
    chat = qwen(closes=True)
    text = rendered(chat.encode(TURNS, PLACES), chat.spell, MEDIA_OF, colours=False)
    assert not text.spans
    assert text.plain == (
        "<|im_start|>user\n<frames: about 8 tokens>or<sound: about 50 tokens> of <|im_end|>[red]<|im_end|>\n"
        "<|im_start|>assistant\nIt is[learned:  good<|im_end|>]\n"
    )


def test_two_places_side_by_side_are_two():
    chat = ByteChat(max_bytes=100)
    turns = (Turn(role="user", text=f"{MEDIA}{MEDIA}?"),)
    assert rendered(chat.encode(turns, PLACES), chat.spell, ["a", "b"], colours=False).plain == "<a><b>?"
