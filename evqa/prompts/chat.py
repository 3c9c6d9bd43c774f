"""Conversations in Qwen's chat format as token ids; what came from outside stays plain text.

# T tokens
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from typing import Any, Literal, Protocol

from tokenizers import Tokenizer

from evqa.errors import CheckpointError, ConfigError, PromptError
from evqa.types import MEDIA, Turn

IGNORED = -100
START, END = "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One conversation.

    ids: of length T, media included. targets: of length T, shifted: what position t is to predict, -100 elsewhere.
    answer: position whose logits predict the first word of the last answer. notes: sentences on what was cut.
    """

    ids: tuple[int, ...]
    targets: tuple[int, ...]
    answer: int
    notes: tuple[str, ...] = ()


class ChatFormat(Protocol):
    """How a model's conversations are written.

    is_stand_in: its tokenizer takes the place of the checkpoint's, which is not here.
    """

    is_stand_in: bool

    def encode(self, turns: Sequence[Turn], media: Sequence[Sequence[int]]) -> Encoded:
        """Write a conversation; `media` are the ids that stand for each stream, in the order of the places.

        Raises:
            PromptError: the conversation does not fit the media or the model's length.
        """
        ...

    def spell(self, ids: Sequence[int]) -> str:
        """Write ids out for a person, special tokens included."""
        ...


@dataclass(kw_only=True)
class _Piece:
    """Ids that belong together. is_read: an answer may be read behind them; is_question: they may be cut."""

    ids: list[int]
    is_learned: bool = False
    is_read: bool = False
    is_question: bool = False
    is_media: bool = False


class Chat:
    """Encodes any list of turns: `<|im_start|>role`, a line break, the text, `<|im_end|>`, a line break.

    tokenizer: of the `tokenizers` library. name: the checkpoint's, for messages. pad: id that fills rows up. system:
        the prompt of conversations that bring none; None for none at all. special_text: `plain` keeps a
        `<|im_end|>` in a title a piece of text; `parsed` lets it end the user's turn, as the original codes do.
    after_media: text that stands behind every place of media. closes: whether the last turn is closed too; otherwise a
        conversation ends with the last token that something is read from. max_text_tokens: longest text, each media
        place counting as one token; the question is cut at its end. cuts_tail: cut everything at its end instead.
    learns: which tokens are targets. answers: the words to learn, and the end of their turn. llava: as LLaVA-NeXT's
        fine-tuning has it, all of a learned message from its `<|im_start|>` to the line break behind it, and every line
        break, `<|im_start|>` and `<|im_end|>` of the whole conversation.
    is_stand_in: see `ChatFormat`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        name: str,
        pad: int | None = None,
        system: str | None,
        special_text: Literal["plain", "parsed"] = "plain",
        after_media: str = "",
        closes: bool = False,
        max_text_tokens: int | None = None,
        cuts_tail: bool = False,
        learns: Literal["answers", "llava"] = "answers",
        is_stand_in: bool = False,
    ) -> None:
        self.tokenizer, self.name, self.system = tokenizer, name, system
        self.special_text, self.after_media, self.closes = special_text, after_media, closes
        self.max_text_tokens, self.cuts_tail, self.is_stand_in = max_text_tokens, cuts_tail, is_stand_in
        self.learns = learns
        self._make_encoders()
        self.start, self.end = self.token(START), self.token(END)
        self.pad = self.end if pad is None else pad
        self._line = self.plain("\n")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_plain", "_parsed")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_encoders()

    def _make_encoders(self) -> None:
        self._plain, self._parsed = (_encoder(self.tokenizer, special=special) for special in (False, True))

    # ---- words

    def token(self, text: str, *, configured: int | None = None) -> int:
        """Look up a special token; `configured` is the id that the model itself looks for.

        Raises:
            CheckpointError: the tokenizer has no such token, or the model expects another id.
        """
        token = self.tokenizer.token_to_id(text)
        if token is None:
            raise CheckpointError(f"model.checkpoint={self.name}: the tokenizer has no special token {text}.")
        if configured is not None and configured != token:
            raise CheckpointError(
                f"model.checkpoint={self.name}: {text} is token {token} in the tokenizer, {configured} in config.json."
            )
        return int(token)

    def plain(self, text: str) -> list[int]:
        """Tokenise text in which nothing is a special token."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Turn generated ids into text, up to the end of the turn."""
        length = next((index for index, token in enumerate(ids) if token in (self.end, self.pad)), len(ids))
        return str(self.tokenizer.decode(list(ids[:length]), skip_special_tokens=True))

    def spell(self, ids: Sequence[int]) -> str:
        """Write ids out, special tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def word_id(self, word: str) -> int:
        """Look up a word that is one token. Raises ConfigError, naming the word's tokens, where it is not."""
        ids = self.plain(word)
        if len(ids) != 1:
            pieces = [self.tokenizer.id_to_token(token) for token in ids]
            raise ConfigError(
                [
                    f"head.words: {word!r} is {len(ids)} tokens for {self.name}, not one: {pieces}. Choose another "
                    "word; most need the space before them (' good')."
                ]
            )
        return ids[0]

    # ---- conversations

    def encode(self, turns: Sequence[Turn], media: Sequence[Sequence[int]]) -> Encoded:
        """Write a conversation; `media` are the ids that stand for each stream, in the order of the places.

        Raises:
            PromptError: another number of places than of streams, or `max_text_tokens` leaves no room for a question.
        """
        places = sum(turn.text.count(MEDIA) for turn in turns)
        if places != len(media):
            raise PromptError(
                f"the conversation has {places} places for media (<media>), and this record has {len(media)} streams. "
                "Change prompt.question, or the record's turns."
            )
        pieces = list(self._pieces(turns, iter(media)))
        notes = () if self.cuts_tail else self._cut_question(pieces)
        ids = [token for piece in pieces for token in piece.ids]
        learned = self._learned(pieces)
        last_read = max(index for index, piece in enumerate(pieces) if piece.is_read)
        answer = sum(len(piece.ids) for piece in pieces[: last_read + 1]) - 1
        if self.cuts_tail and self.max_text_tokens is not None and len(ids) > self.max_text_tokens:
            self._check_media_kept(pieces)
            notes = (f"the conversation was cut at its end, from {len(ids)} to {self.max_text_tokens} tokens",)
            ids, learned = ids[: self.max_text_tokens], learned[: self.max_text_tokens]
        targets = [token if learn else IGNORED for token, learn in zip(ids[1:], learned[1:], strict=True)]
        if self.closes or not learned[-1]:
            targets.append(IGNORED)
        else:
            ids.pop()  # nothing is predicted from the last target
        return Encoded(ids=tuple(ids), targets=tuple(targets), answer=min(answer, len(ids) - 1), notes=notes)

    def _pieces(self, turns: Sequence[Turn], media: Iterator[Sequence[int]]) -> Iterator[_Piece]:
        if self.system is not None and not any(turn.role == "system" for turn in turns):
            turns = (Turn(role="system", text=self.system), *turns)
        messages = [list(group) for _, group in groupby(turns, key=lambda turn: turn.role)]
        if messages[-1][0].role != "assistant":
            messages.append([Turn(role="assistant", text="")])
        for message in messages:
            is_whole = self.learns == "llava" and any(turn.learn for turn in message)
            for piece in self._message(message, media):
                yield replace(piece, is_learned=(piece.is_learned or is_whole) and not piece.is_media)
            is_last, is_learned = message is messages[-1], message[-1].learn or is_whole
            if is_learned or self.closes or not is_last:
                yield _Piece(ids=[self.end], is_learned=is_learned)
            if is_whole or self.closes or not is_last:
                yield _Piece(ids=list(self._line), is_learned=is_whole)

    def _learned(self, pieces: Sequence[_Piece]) -> list[bool]:
        """Say of every token whether it is a target; in LLaVA's way, the template's own tokens are, in every turn."""
        template = {self.start, self.end, *self._line} if self.learns == "llava" else set[int]()
        if not any(piece.is_learned for piece in pieces):
            template = set()  # a question: nothing is learned
        return [piece.is_learned or token in template for piece in pieces for token in piece.ids]

    def _message(self, message: Sequence[Turn], media: Iterator[Sequence[int]]) -> Iterator[_Piece]:
        """The role's name is tokenised with the words behind it, as the template's whole text would be."""
        role, opening = message[0].role, f"{message[0].role}\n"
        yield _Piece(ids=[self.start])
        for turn in message:
            if turn.learn and opening:
                yield _Piece(ids=self.plain(opening), is_read=True)
                opening = ""
            for place, text in enumerate(turn.text.split(MEDIA)):
                if place:
                    yield _Piece(ids=list(next(media)), is_media=True)
                ids = self._words(opening + (self.after_media if place else "") + text, role)
                opening = ""
                yield _Piece(
                    ids=ids, is_learned=turn.learn, is_read=not turn.learn, is_question=role == "user" and bool(text)
                )

    def _check_media_kept(self, pieces: Sequence[_Piece]) -> None:
        ends = list(accumulate(len(piece.ids) for piece in pieces))
        last = max((end for end, piece in zip(ends, pieces, strict=True) if piece.is_media), default=0)
        if self.max_text_tokens is not None and last > self.max_text_tokens:
            raise PromptError(
                f"model.max_text_tokens={self.max_text_tokens} is too small: the last place for media stands at token "
                f"{last}. Raise it."
            )

    def _words(self, text: str, role: str) -> list[int]:
        encoder = self._parsed if role == "user" and self.special_text == "parsed" else self._plain
        return list(encoder.encode(text, add_special_tokens=False).ids)

    def _cut_question(self, pieces: Sequence[_Piece]) -> tuple[str, ...]:
        """Shorten the last question at its end until everything fits, so that the answer's place stays."""
        if self.max_text_tokens is None:
            return ()
        excess = sum(len(piece.ids) for piece in pieces) - self.max_text_tokens
        if excess <= 0:
            return ()
        question = next((piece for piece in reversed(pieces) if piece.is_question), None)
        num_tokens = 0 if question is None else len(question.ids)
        if question is None or num_tokens <= excess:
            rest = self.max_text_tokens + excess - num_tokens
            raise PromptError(
                f"model.max_text_tokens={self.max_text_tokens} is too small: the conversation without its question has "
                f"{rest} tokens already. Raise it, or shorten prompt.answer."
            )
        del question.ids[num_tokens - excess :]
        return (f"the question was cut at its end, from {num_tokens} to {num_tokens - excess} tokens",)


def _encoder(tokenizer: Tokenizer, *, special: bool) -> Tokenizer:
    """Copy a tokenizer, with special tokens read or kept as text."""
    encoder = Tokenizer.from_str(tokenizer.to_str())
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = not special
    return encoder
