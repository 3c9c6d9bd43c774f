"""The embedded model's text: a vocabulary of bytes and a few words, and conversations in it.

# T tokens
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evqa.errors import ConfigError, PromptError
from evqa.prompts.chat import IGNORED, Encoded
from evqa.types import MEDIA, Turn

PAD, END = 256, 257
# Words that are single tokens, so that the head `levels` works; user text is always bytes.
WORDS = (" high", " good", " fair", " poor", " low", " excellent", " bad")
VOCABULARY = 258 + len(WORDS)


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


class ByteChat:
    """A conversation as bytes: messages are divided by a line break, a learned message ends with the end token.

    max_bytes: longest text of one user's turn.
    """

    is_stand_in = False

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes

    def encode(self, turns: Sequence[Turn], media: Sequence[Sequence[int]]) -> Encoded:
        """Write a conversation; `media` are the ids that stand for each stream, in the order of the places.

        Raises:
            PromptError: another number of places than of streams.
        """
        places = sum(turn.text.count(MEDIA) for turn in turns)
        if places != len(media):
            raise PromptError(
                f"the conversation has {places} places for media (<media>), and this record has {len(media)} streams. "
                "Change prompt.question, or the record's turns."
            )
        ids, learned, notes, streams = list[int](), list[bool](), list[str](), iter(media)
        answer = -1
        for number, turn in enumerate(turns):
            begins = number > 0 and turn.role != turns[number - 1].role
            if begins:
                ids += encode("\n")
                learned.append(False)
            if begins or number == 0:
                answer = len(ids) - 1  # unless more of the message is given
            words = _learned_words(turn.text) if turn.learn else self._words(turn, streams, notes)
            if turn.learn and (number + 1 == len(turns) or turns[number + 1].role != turn.role):
                words = [*words, END]
            ids += words
            learned += [turn.learn] * len(words)
            answer = answer if turn.learn else len(ids) - 1
        targets = [token if learn else IGNORED for token, learn in zip(ids[1:], learned[1:], strict=True)]
        return Encoded(ids=tuple(ids), targets=(*targets, IGNORED), answer=answer, notes=tuple(notes))

    def spell(self, ids: Sequence[int]) -> str:
        """Write ids out, the end token as `<end>`."""
        return "<end>".join(map(decode, _parts(ids)))

    def _words(self, turn: Turn, media: Iterator[Sequence[int]], notes: list[str]) -> list[int]:
        *texts, last = (encode(text) for text in turn.text.split(MEDIA))
        excess = sum(map(len, texts)) + len(last) - self.max_bytes if turn.role == "user" else 0
        if excess > len(last):
            raise PromptError(
                f"model.max_bytes={self.max_bytes} is too small: the text before the media is longer. Raise it, or "
                "begin prompt.question with <media>."
            )
        if excess > 0:
            notes.append(f"the question was cut at its end, from {self.max_bytes + excess} to {self.max_bytes} bytes")
            last = last[: len(last) - excess]
        return [token for text in texts for token in (*text, *next(media))] + last


def _learned_words(text: str) -> list[int]:
    """Level words are learned as the single tokens that they are read as."""
    pieces = re.split("(" + "|".join(map(re.escape, WORDS)) + ")", text)
    return [token for piece in pieces for token in ([word_id(piece)] if piece in WORDS else encode(piece))]


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut ids at every end token."""
    start = 0
    for place in [place for place, token in enumerate(ids) if token == END]:
        yield ids[start:place]
        start = place + 1
    yield ids[start:]
