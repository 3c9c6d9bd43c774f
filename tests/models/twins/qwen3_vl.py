"""Qwen3-VL with two small layers a tower."""

from pathlib import Path

import torch

from tests.models.twins.tokens import ARGUMENTS, TEXT, save, write_tokenizer


def write(folder: Path) -> dict:
    """Write a tiny random checkpoint; returns keyword arguments for the model."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    ids = write_tokenizer(folder)
    text = {key: value for key, value in TEXT.items() if not key.startswith(("bos", "eos"))}
    config = Qwen3VLConfig(
        text_config=text | {"vocab_size": 512, "head_dim": 8},
        vision_config={
            **{"depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32},
            **{"patch_size": 14, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
            "initializer_range": 0.2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save(Qwen3VLForConditionalGeneration(config), folder, ids)
    return {"checkpoint": str(folder), **ARGUMENTS}
