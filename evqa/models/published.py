"""Sizes of published checkpoints, so that a dry run needs neither network nor download.

Sizes are taken from their `config.json`; only what decides on shapes and counts is listed.
"""

from __future__ import annotations

from typing import Any

_EYES = {
    **{"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14},
    **{"window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]},
}
_EARS = {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120}
_ROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
_QWEN2_3B = {
    **{"hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36, "num_attention_heads": 16},
    **{"num_key_value_heads": 2, "vocab_size": 151_936, "rms_norm_eps": 1e-6, "rope_parameters": _ROPE},
}
_QWEN2_7B = {
    **{"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28},
    **{"num_key_value_heads": 4, "vocab_size": 152_064, "rms_norm_eps": 1e-6, "rope_parameters": _ROPE},
}
_QWEN3_4B = {
    **{"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32},
    **{"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "rms_norm_eps": 1e-6},
    "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]},
}
_QWEN3_EYES = {
    **{"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16},
    **{"out_hidden_size": 2560, "num_position_embeddings": 2304, "deepstack_visual_indexes": [5, 11, 17]},
}
_MARKS = {
    "<|endoftext|>": 151_643, "<|im_start|>": 151_644, "<|im_end|>": 151_645,
    "<|vision_start|>": 151_652, "<|vision_end|>": 151_653, "<|vision_pad|>": 151_654,
    "<|image_pad|>": 151_655, "<|video_pad|>": 151_656,
}  # fmt: skip
_OMNI_MARKS = {
    "<|endoftext|>": 151_643, "<|im_start|>": 151_644, "<|im_end|>": 151_645, "<|AUDIO|>": 151_646,
    "<|audio_bos|>": 151_647, "<|audio_eos|>": 151_648, "<|vision_bos|>": 151_652, "<|vision_eos|>": 151_653,
    "<|vision_pad|>": 151_654, "<|IMAGE|>": 151_655, "<|VIDEO|>": 151_656,
}  # fmt: skip


def _qwen2_5_vl(text: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    return {
        "model_type": "qwen2_5_vl",
        "text_config": text,
        "vision_config": _EYES | {"out_hidden_size": text["hidden_size"], "tokens_per_second": 2},
        "tie_word_embeddings": tied,
        **{"video_token_id": 151_656, "image_token_id": 151_655},
    }


def _qwen2_5_omni(text: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_type": "qwen2_5_omni_thinker",
        "text_config": text | {"tie_word_embeddings": False},
        "vision_config": _EYES | {"out_hidden_size": text["hidden_size"]},
        "audio_config": _EARS | {"num_mel_bins": 128, "n_window": 100, "output_dim": text["hidden_size"]},
        **{"audio_token_index": 151_646, "image_token_index": 151_655, "video_token_index": 151_656},
        **{"audio_start_token_id": 151_647, "audio_end_token_id": 151_648},
    }


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen2_5_vl(_QWEN2_3B, tied=True),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen2_5_vl(_QWEN2_7B, tied=False),
    "Qwen/Qwen2.5-Omni-3B": _qwen2_5_omni(_QWEN2_3B),
    "Qwen/Qwen2.5-Omni-7B": _qwen2_5_omni(_QWEN2_7B),
    "Qwen/Qwen3-VL-4B-Instruct": {
        "model_type": "qwen3_vl",
        "text_config": _QWEN3_4B,
        "vision_config": _QWEN3_EYES,
        "tie_word_embeddings": True,
        **{"video_token_id": 151_656, "image_token_id": 151_655},
    },
}


def published_config(name: str) -> Any:
    """Build the configuration of a published checkpoint; KeyError where its sizes are not known here."""
    from transformers import AutoConfig

    settings = dict(CONFIGURATIONS[name])
    return AutoConfig.for_model(settings.pop("model_type"), **settings)


def stand_in_tokenizer(name: str) -> Any:
    """Make a byte tokenizer with the checkpoint's special tokens; it can count and mark, but not encode words."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = _OMNI_MARKS if "omni" in CONFIGURATIONS[name]["model_type"] else _MARKS
    letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    engine = Tokenizer(models.BPE(letters | marks, []))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return PreTrainedTokenizerFast(tokenizer_object=engine, eos_token="<|im_end|>", pad_token="<|endoftext|>")
