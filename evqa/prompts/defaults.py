"""The questions that evqa brings along, by what the label measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DefaultPrompt:
    """A question with its places, the answer sentence that belongs to the input, and the word for an absent text."""

    question: str
    answer: str
    missing: str


ENGAGEMENT = DefaultPrompt(  # LMM-EVQA's for VideoLLaMA2 (Sun et al., ICCV workshops 2025)
    question=(
        "<media>How would you judge the engagement continuation rate of the given content, where engagement "
        "continuation rate represents the probability of watch time exceeding 5 seconds. The title of the video is "
        "{title}, and the description of the video is {description}"
    ),
    answer="The engagement continuation rate of the video.",
    missing="None",
)
QUALITY = DefaultPrompt(
    question="<media>How would you rate the perceptual quality of this video?",
    answer="The quality of the video.",
    missing="None",
)
ANY = DefaultPrompt(
    question="<media>How would you rate the {quantity} of this video?",
    answer="The {quantity} of the video.",
    missing="None",
)
TEXTS_ONLY = DefaultPrompt(
    question="<media>{title}\n{description}", answer="\n{Quantity}:", missing=""
)  # for small models


def default_prompt(quantity: str, *, short: bool) -> DefaultPrompt:
    """Choose the prompt for what a label measures; short: the one for models that cannot read a question."""
    if short:
        return TEXTS_ONLY
    return {"engagement": ENGAGEMENT, "quality": QUALITY}.get(quantity, ANY)
