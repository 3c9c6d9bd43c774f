"""Conversations in the cells of a table: a JSON list of turns.

A turn is `{"role": "user", "content": "..."}`, or `{"from": "human", "value": "..."}` as LLaVA's data sets have it.
"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

from evqa.types import MEDIA, Turn

Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {role: role for role in get_args(Role)} | {"human": "user", "gpt": "assistant"}
PLACES = ("<media>", "<image>", "<video>")  # in a turn's text: where the record's next file goes
_FORM = 'give a list such as [{"role": "user", "content": "<media>How good is it?"}]'


def read_turns(cell: str) -> tuple[Turn, ...]:
    """Read a conversation; the assistant's words are learned unless a turn says `"learn": false`.

    Raises:
        ValueError: the cell holds no conversation, with a sentence.
    """
    try:
        turns = json.loads(cell)
    except (ValueError, RecursionError):
        turns = None
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"holds no conversation; {_FORM}")
    return tuple(_turn(turn, number) for number, turn in enumerate(turns, 1))


def _turn(turn: Any, number: int) -> Turn:
    values = turn if isinstance(turn, dict) else {}
    role, text = values.get("role", values.get("from")), values.get("content", values.get("value"))
    if not isinstance(role, str) or role not in ROLES or not isinstance(text, str):
        raise ValueError(f"has no role ({', '.join(ROLES)}) with words in turn {number}; {_FORM}")
    is_assistant = ROLES[role] == "assistant"
    learn = values.get("learn", is_assistant)
    if not isinstance(learn, bool) or (learn and not is_assistant):
        raise ValueError(f"says learn={learn!r} in turn {number}; only the assistant's words can be learned")
    return Turn(role=ROLES[role], text=_with_places(text), learn=learn)


def _with_places(text: str) -> str:
    text = text.replace(MEDIA, "\N{REPLACEMENT CHARACTER}")
    for place in PLACES:
        text = text.replace(place, MEDIA)
    return text
