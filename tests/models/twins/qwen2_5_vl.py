"""Qwen2.5-VL with two small layers a tower."""

from pathlib import Path

import torch

from tests.models.twins.tokens import ARGUMENTS, TEXT, VISION, save, write_tokenizer


def write(folder: Path) -> dict:
    """Write a tiny random checkpoint; returns keyword arguments for the model."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = write_tokenizer(folder)
    config = Qwen2_5_VLConfig(
        text_config=TEXT | {"vocab_size": 512},
        vision_config=VISION,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save(Qwen2_5_VLForConditionalGeneration(config), folder, ids)
    return {"checkpoint": str(folder), **ARGUMENTS}
