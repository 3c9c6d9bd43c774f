"""Qwen2.5-Omni's thinker with two small layers a tower."""

from pathlib import Path

import torch

from tests.models.twins.tokens import ARGUMENTS, TEXT, VISION, save, write_tokenizer

AUDIO = {
    **{"num_mel_bins": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24},
    **{"d_model": 16, "n_window": 10, "output_dim": 32, "initializer_range": 0.2},
}


def write(folder: Path) -> dict:
    """Write a tiny random checkpoint; returns keyword arguments for the model."""
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

    ids = write_tokenizer(folder)
    config = Qwen2_5OmniThinkerConfig(
        text_config=TEXT | {"vocab_size": 512, "tie_word_embeddings": False},
        vision_config=VISION,
        audio_config=AUDIO,
        audio_token_index=ids["<|AUDIO|>"],
        image_token_index=ids["<|IMAGE|>"],
        video_token_index=ids["<|VIDEO|>"],
        audio_start_token_id=ids["<|audio_bos|>"],
        audio_end_token_id=ids["<|audio_eos|>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save(Qwen2_5OmniThinkerForConditionalGeneration(config), folder, ids)
    return {"checkpoint": str(folder), **ARGUMENTS}
