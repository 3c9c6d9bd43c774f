"""A conversation in Qwen's chat format as token ids; what a user wrote stays plain text.

# B batch, T tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from evqa.errors import CheckpointError, ConfigError
from evqa.types import Answer, Prepared

IGNORED = -100


class Chat:
    """Writes one question and the start of its answer: system, user (media, then text), assistant.

    special_text: `plain` keeps a `<|im_end|>` in a title a piece of text; `parsed` lets it end the user's turn, as the
        original code does. `name` is the checkpoint's, for messages.
    """

    def __init__(
        self, tokenizer: Any, *, name: str, system: str | None, special_text: Literal["plain", "parsed"] = "plain"
    ) -> None:
        self.tokenizer, self.name, self.special_text = tokenizer, name, special_text
        self._plain, self._marked = _encoder(tokenizer, special=False), _encoder(tokenizer, special=True)
        self._vocabulary = frozenset(tokenizer.get_added_vocab())
        opening = "" if system is None else f"<|im_start|>system\n{system}<|im_end|>\n"
        self.end = self.token("<|im_end|>")
        self.pad = self.end if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self._opening = self._markup(f"{opening}<|im_start|>user\n")
        self._turn = self._markup("<|im_end|>\n<|im_start|>assistant\n")
        self._word_ids: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_plain", "_marked")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._plain, self._marked = _encoder(self.tokenizer, special=False), _encoder(self.tokenizer, special=True)

    def token(self, text: str, *, configured: int | None = None) -> int:
        """Look up a special token; `configured` is the id that the model itself looks for.

        Raises:
            CheckpointError: the tokenizer has no such token, or the model expects another id.
        """
        if text not in self._vocabulary:
            raise CheckpointError(f"model.checkpoint={self.name}: the tokenizer has no special token {text}.")
        token = int(self.tokenizer.convert_tokens_to_ids(text))
        if configured is not None and configured != token:
            raise CheckpointError(
                f"model.checkpoint={self.name}: {text} is token {token} in the tokenizer, {configured} in config.json."
            )
        return token

    def write(self, media: Sequence[int], question: str, answer: Answer) -> Prepared:
        """Return `input_ids_T` and `target_T`; the targets end with the end token, which is learned but no input."""
        words = self._markup(question) if self.special_text == "parsed" else self.plain(question)
        ids = [*self._opening, *media, *words, *self._turn, *self.plain(answer.prefix)]
        target = [] if answer.target is None else [*self.plain(answer.target), self.end]
        return {"input_ids_T": torch.tensor(ids + target[:-1]), "target_T": torch.tensor(target, dtype=torch.long)}

    def plain(self, text: str) -> list[int]:
        """Tokenise text in which nothing is a special token."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn generated ids into text, up to the end of the turn."""
        stops = {self.end, self.pad, self.tokenizer.eos_token_id}
        length = next((index for index, token in enumerate(ids) if token in stops), len(ids))
        text: str = self.tokenizer.decode(ids[:length], skip_special_tokens=True)
        return text

    def word_id(self, word: str) -> int:
        """Look up a word that is one token. Raises ConfigError, naming the word's tokens, where it is not."""
        if word not in self._word_ids:
            ids = self.plain(word)
            if len(ids) != 1:
                pieces = self.tokenizer.convert_ids_to_tokens(ids)
                raise ConfigError(
                    [
                        f"head.words: {word!r} is {len(ids)} tokens for {self.name}, not one: {pieces}. "
                        "Choose another word; most need the space before them (' good')."
                    ]
                )
            self._word_ids[word] = ids[0]
        return self._word_ids[word]

    def collate(self, items: Sequence[Prepared]) -> dict[str, Tensor]:
        """Pad on the right: `input_ids_BT`, `mask_BT`, `answer_B`, and `target_BT` where anything is to be learned."""
        lengths_B = torch.tensor([len(item["input_ids_T"]) for item in items])
        learned_B = torch.tensor([max(len(item["target_T"]) - 1, 0) for item in items])
        ids_BT = pad_sequence([item["input_ids_T"] for item in items], batch_first=True, padding_value=self.pad)
        batch = {
            "input_ids_BT": ids_BT,
            "mask_BT": torch.arange(ids_BT.shape[1]) < lengths_B.unsqueeze(1),
            "answer_B": lengths_B - learned_B - 1,
        }
        if any(len(item["target_T"]) for item in items):
            target_BT = torch.full_like(ids_BT, IGNORED)
            for row, (item, start) in enumerate(zip(items, batch["answer_B"].tolist(), strict=True)):
                target_BT[row, start : start + len(item["target_T"])] = item["target_T"]
            batch["target_BT"] = target_BT
        return batch

    def _markup(self, text: str) -> list[int]:
        ids: list[int] = self._marked.encode(text, add_special_tokens=False).ids
        return ids


def _encoder(tokenizer: Any, *, special: bool) -> Any:
    """Copy the tokenizer's engine, with special tokens read or kept as text.

    The wrapper in transformers switches one shared engine back and forth, which threads would do to each other.
    """
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = not special
    return encoder
