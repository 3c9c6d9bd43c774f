"""A byte-level tokenizer that knows a few whole words, and Qwen's special tokens."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

WORDS = ("Ġhigh", "Ġgood", "Ġfair", "Ġpoor", "Ġlow", "Ġexcellent", "Ġbad")
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"),
    *("<|image_pad|>", "<|vision_pad|>", "<|vision_bos|>", "<|vision_eos|>", "<|VIDEO|>", "<|IMAGE|>"),
    *("<|audio_bos|>", "<|audio_eos|>", "<|AUDIO|>"),
)


def write_tokenizer(folder: Path) -> dict[str, int]:
    """Save the tokenizer; returns the ids of its special tokens."""
    vocabulary = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    engine = Tokenizer(models.BPE(vocabulary, merges))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=engine, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
    tokenizer.save_pretrained(folder)
    return {token: engine.token_to_id(token) for token in SPECIAL}


def save(model, folder: Path, ids: dict[str, int]) -> None:
    """Save a model whose random weights are large enough for differences to show."""
    folder.mkdir(parents=True, exist_ok=True)
    for token in ("bos_token_id", "eos_token_id"):
        setattr(model.config.get_text_config(), token, ids["<|im_end|>"])
    model.generation_config.update(bos_token_id=None, eos_token_id=ids["<|im_end|>"])
    model.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"]


TEXT = {
    **{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "initializer_range": 0.2, "bos_token_id": None, "eos_token_id": None},
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
}
VISION = {
    **{"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32},
    **{"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1], "initializer_range": 0.2},
}
ARGUMENTS = {"revision": None, "dtype": "float32", "min_pixels": 28 * 28, "max_pixels": 56 * 84}
