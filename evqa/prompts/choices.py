"""Questions with lettered options, and questions answered freely, as Q-Bench-Video words them; and what was chosen.

Zhang et al., Q-Bench-Video, CVPR 2025 (arXiv 2409.20063); the texts are those of its code, word for word, and of
VQA2's for open-ended questions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTERS = "ABCD"
ONE_LETTER = (
    "Please answer the question in the following format: the uppercase letter of the correct answer option itself "
    "+'.'. Please do not add any other answers beyond this."
)
FREELY = "Please directly answer the question."
# A letter, perhaps in brackets, that ends there or is followed by a sign: "A clear picture" chooses nothing.
_CHOICE = re.compile(r"[(\[*\"']*([A-Z])(?=[.):,;\]*\"']|\s*$|\s*\n)")


def choice_message(question: str, options: Sequence[str]) -> str:
    """Word a question with up to four options."""
    lines = "".join(f"{letter}. {option}\n" for letter, option in zip(LETTERS, options, strict=False))
    return f"{question}\n{lines}{ONE_LETTER}"


def open_message(question: str) -> str:
    """Word a question that is answered freely."""
    return f"{question}{FREELY}"


def chosen_letter(answer: str, *, num_options: int) -> str | None:
    """The option that an answer begins with ("B", "B.", "(B)", "B. text"); None where it names none of them."""
    found = _CHOICE.match(answer.strip())
    return found[1] if found and found[1] in LETTERS[:num_options] else None
