"""Qwen2's tokenizer: read from a checkpoint folder, or made of bytes for models with random weights."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from evqa.errors import CheckpointError
from evqa.models.exporting import write_json

SYSTEM = "You are a helpful assistant."
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Qwen2's rule for splitting text into words, from its published tokenizer.json.
WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    + SYSTEM
    + "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LEVEL_WORDS = (" high", " good", " fair", " poor", " low", " excellent", " bad")


def load_tokenizer(folder: Path, *, vocab_size: int) -> Tokenizer:
    """Read the tokenizer of a checkpoint folder: tokenizer.json, or Qwen2's vocab.json and merges.txt.

    Raises:
        CheckpointError: no tokenizer, a damaged one, or one that is larger than the model's vocabulary.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        else:
            tokenizer = _from_vocabulary(folder)
    except CheckpointError:
        raise
    except Exception as error:  # the tokenizers library raises nothing more precise
        raise CheckpointError(f"{folder}: the tokenizer cannot be read ({error})") from error
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    if size > vocab_size:
        raise CheckpointError(f"{folder}: the tokenizer has {size} tokens, the model's vocabulary {vocab_size}")
    return tokenizer


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


def embedded_tokenizer() -> Tokenizer:
    """Make a tokenizer of bytes, with the level words as single tokens; for models with random weights."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = qwen2_tokenizer({letter: index for index, letter in enumerate(letters)}, [], [PAD, START, END])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in LEVEL_WORDS])
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path, *, max_text_tokens: int) -> None:
    """Write a tokenizer as others load it, with the chat's template."""
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": PAD,
                "additional_special_tokens": [START, END], "chat_template": CHAT_TEMPLATE,
                "model_max_length": max_text_tokens, "padding_side": "right"}  # fmt: skip
    write_json(folder / "tokenizer_config.json", settings)
