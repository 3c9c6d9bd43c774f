"""The question that a model is asked about a video."""

from __future__ import annotations

from dataclasses import dataclass

from evqa.types import Record

ENGAGEMENT_QUESTION = (
    "How would you judge the engagement continuation rate of the given content, where engagement continuation rate "
    "represents the probability of watch time exceeding 5 seconds. The title of the video is {title}, and the "
    "description of the video is {description}"
)
ENGAGEMENT_ANSWER = "The engagement continuation rate of the video."


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question with the places `{title}` and `{description}`, and the answer sentence that belongs to the input.

    The default wording is LMM-EVQA's for VideoLLaMA2 (Sun et al., ICCV workshops 2025). answer: the assistant's words
    that a regression head pools over; heads that read an answer bring their own. missing: the word for an absent
    title or description.
    """

    question: str = ENGAGEMENT_QUESTION
    answer: str = ENGAGEMENT_ANSWER
    missing: str = "None"

    def text(self, record: Record) -> str:
        """Fill in title and description literally (braces in a title stay braces)."""
        words = {"title": record.title, "description": record.description}
        text = self.question
        pieces = []
        while "{" in text:
            before, _, rest = text.partition("{")
            name, _, text = rest.partition("}")
            word = words[name]
            pieces += [before, self.missing if word is None else word]
        return "".join([*pieces, text])
