"""Words and token ids: Qwen2's chat format around a question, with user text that cannot become a control token.

# T tokens
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from evqa.errors import CheckpointError, ConfigError
from evqa.models.videollama2.splice import PLACEHOLDER
from evqa.types import Answer

SYSTEM = "You are a helpful assistant."
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Qwen2's rule for splitting text into words, from its published tokenizer.json.
WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LEVEL_WORDS = (" high", " good", " fair", " poor", " low", " excellent", " bad")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json",
                   "special_tokens_map.json", "generation_config.json")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Words:
    """Token ids of one conversation, in the order of the fields; the placeholder stands between before and question.

    answer: ends with the last token of the answer's prefix. target: tokens to be learned, with their end token.
    """

    before: list[int]
    question: list[int]
    answer: list[int]
    target: list[int]
    closing: list[int]

    def ids(self) -> list[int]:
        """Join everything."""
        return [*self.before, PLACEHOLDER, *self.question, *self.answer, *self.target, *self.closing]

    def cut(self, max_tokens: int) -> Words:
        """Shorten the question at its end until everything fits, so that the answer's place stays."""
        excess = max(0, len(self.ids()) - max_tokens)
        question = self.question[: max(1, len(self.question) - excess)]
        return Words(**{**self.__dict__, "question": question})


class Chat:
    """Encodes conversations. Text is never read as control tokens; those are put in by their ids alone."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.pad_id, self.start_id, self.end_id = (self._control(token) for token in (PAD, START, END))
        tokenizer.encode_special_tokens = True

    @cached_property
    def _parser(self) -> Tokenizer:
        return Tokenizer.from_str(self.tokenizer.to_str())  # a fresh one reads control tokens

    def __getstate__(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["tokenizer"])  # type: ignore[misc]  # a pickled tokenizer forgets `encode_special_tokens`

    def _control(self, token: str) -> int:
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(f"the tokenizer has no token {token}; this is not a Qwen2 chat tokenizer")
        return int(found)

    @property
    def size(self) -> int:
        """One more than the largest token id."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text: str, *, parse: bool = False) -> list[int]:
        """Token ids of plain text; `<|im_end|>` in it stays text unless it is to be parsed as a control token."""
        tokenizer = self._parser if parse else self.tokenizer
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, control tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def word_id(self, word: str) -> int:
        """Id of a word that is one token.

        Raises:
            ConfigError: it is none or several.
        """
        ids = self.encode(word)
        if len(ids) != 1:
            pieces = [self.tokenizer.id_to_token(token) for token in ids]
            raise ConfigError([f"head.words: {word!r} is not a single token of this model; it is {pieces}"])
        return ids[0]

    def words(self, question: str, answer: Answer, *, parse: bool = False) -> Words:
        """Lay out system prompt, question and answer as Qwen2's chat template does; parse: see `encode`."""
        start, end, newline = [self.start_id], [self.end_id], self.encode("\n")
        system = start + self.encode(f"system\n{SYSTEM}") + end + newline
        target = [] if answer.target is None else [*self.encode(answer.target), self.end_id]
        return Words(
            before=system + start + self.encode("user\n"),
            question=self.encode(f"\n{question}", parse=parse),
            answer=end + newline + start + self.encode(f"assistant\n{answer.prefix}"),
            target=target,
            closing=newline if target else end + newline,
        )


def load_chat(folder: Path, *, vocab_size: int) -> Chat:
    """Read the tokenizer of a checkpoint folder: tokenizer.json, or Qwen2's vocab.json and merges.txt.

    Raises:
        CheckpointError: no tokenizer, a damaged one, or one that is larger than the model's vocabulary.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            chat = Chat(Tokenizer.from_file(str(folder / "tokenizer.json")))
        else:
            chat = Chat(_from_vocabulary(folder))
    except CheckpointError:
        raise
    except Exception as error:  # the tokenizers library raises nothing more precise
        raise CheckpointError(f"{folder}: the tokenizer cannot be read ({error})") from error
    if chat.size > vocab_size:
        raise CheckpointError(f"{folder}: the tokenizer has {chat.size} tokens, the model's vocabulary {vocab_size}")
    return chat


def _from_vocabulary(folder: Path) -> Tokenizer:
    vocabulary = folder / "vocab.json"
    if not vocabulary.is_file():
        raise CheckpointError(f"{folder}: no tokenizer (tokenizer.json, or vocab.json and merges.txt)")
    words = json.loads(vocabulary.read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [(first, second) for first, _, second in (line.partition(" ") for line in lines) if second]
    merges = merges[1:] if lines and lines[0].startswith("#version") else merges
    added_path = folder / "added_tokens.json"
    added = json.loads(added_path.read_text(encoding="utf-8")) if added_path.is_file() else {}
    return qwen2_tokenizer(words, merges, sorted(added, key=lambda token: added[token]) or [PAD, START, END])


def qwen2_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]], controls: list[str]) -> Tokenizer:
    """Build a byte-level tokenizer with Qwen2's rules; control tokens follow the vocabulary in the order given."""
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    split = pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated", invert=False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in controls])
    return tokenizer


def embedded_chat() -> Chat:
    """Make a tokenizer of bytes, with the level words as single tokens; for models with random weights."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = qwen2_tokenizer({letter: index for index, letter in enumerate(letters)}, [], [PAD, START, END])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in LEVEL_WORDS])
    return Chat(tokenizer)
