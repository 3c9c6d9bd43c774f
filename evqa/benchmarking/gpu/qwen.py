"""The part `qwen`: the encoders of Qwen2.5-VL, Omni and Qwen3-VL alone, whose attention is inside windows.

# N patches, P values of a patch, C chunks of mel rows, R rows of a chunk, M mel bins
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from evqa.benchmarking.clock import DeviceClock
from evqa.benchmarking.gpu.bench import Bench
from evqa.benchmarking.gpu.settings import Row
from evqa.benchmarking.made_batch import HEIGHT, WIDTH
from evqa.benchmarking.measure import Spread
from evqa.models.encoding import encode_frames, encode_sounds
from evqa.models.patches import Patches
from evqa.models.random_weights import random_weights
from evqa.models.segments import use_segments
from evqa.models.weights import build_empty
from evqa.scoring.computation import Computation

NUM_FRAMES, SOUND_ROWS = 8, 800  # of a clip: eight seconds of sound
WARMUP, TIMED = 2, 10


@dataclass(frozen=True, kw_only=True)
class Tower:
    """An encoder: its class and configuration in transformers, and in which sizes it was published, or is tiny."""

    module: str
    encoder: str
    config: str
    reads: Literal["frames", "sound"]
    published: dict[str, Any]
    tiny: dict[str, Any]
    max_pixels: int = 0
    min_pixels: int = 0

    def build(self, *, tiny: bool) -> Any:
        """Lay it out without weights."""
        import importlib

        module = importlib.import_module(f"transformers.models.{self.module}.modeling_{self.module}")
        sizes = self.tiny if tiny else self.published
        config = getattr(module, self.config)(**sizes)
        return build_empty(getattr(module, self.encoder), config, dtype="bfloat16", attention="sdpa")


_TINY_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
TOWERS = {
    "Qwen2.5-VL vision": Tower(
        module="qwen2_5_vl",
        encoder="Qwen2_5_VisionTransformerPretrainedModel",
        config="Qwen2_5_VLVisionConfig",
        reads="frames",
        published={"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16},
        tiny=_TINY_VISION | {"fullatt_block_indexes": [1]},
        min_pixels=128 * 28 * 28,
        max_pixels=768 * 28 * 28,
    ),
    "Qwen2.5-Omni audio": Tower(
        module="qwen2_5_omni",
        encoder="Qwen2_5OmniAudioEncoder",
        config="Qwen2_5OmniAudioEncoderConfig",
        reads="sound",
        published={},  # transformers' defaults are those of the 7B model
        tiny={"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "d_model": 32},
    ),
    "Qwen3-VL vision": Tower(
        module="qwen3_vl",
        encoder="Qwen3VLVisionModel",
        config="Qwen3VLVisionConfig",
        reads="frames",
        published={  # of the 4B model
            **{"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "out_hidden_size": 2560},
            "deepstack_visual_indexes": [5, 11, 17],
        },
        tiny=_TINY_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        min_pixels=128 * 32 * 32,
        max_pixels=768 * 32 * 32,
    ),
}


@dataclass(frozen=True)
class Encoding:
    """An encoder with its input."""

    tower: Any
    media: Tensor
    sizes: list[int] = field(default_factory=list)
    encode: Callable[..., Any] = encode_frames

    def __call__(self) -> None:
        """Run it once."""
        self.encode(self.tower, self.media, self.sizes)


def qwen(bench: Bench, row: Row) -> dict[str, Any]:
    """Time an encoder on a batch of clips, with our attention or (change: serial) transformers'."""
    kind, plan_size = TOWERS[row.recipe[0]], int(row.overrides[0].partition("=")[2])
    tower = kind.build(tiny=bench.is_tiny)
    random_weights(tower, seed=0, device=bench.device, language=())
    tower.to(bench.device).eval()
    if row.change != "serial":
        use_segments(tower)
    run = _input(kind, tower, plan_size, bench)
    clock, marks = DeviceClock(bench.device), list[Any]()
    with Computation(device=bench.device, precision="bf16").active():
        for index in range(WARMUP + (2 if bench.is_tiny else TIMED) + 1):
            if index >= WARMUP:
                marks.append(clock.now())
            run()
    clock.wait()
    spread = Spread.of([clock.ms(first, second) for first, second in pairwise(marks)])
    return {
        "ms": spread.median,
        "low": spread.low,
        "high": spread.high,
        "samples_per_second": 1000 * plan_size / spread.median,
    }


def _input(kind: Tower, tower: Any, batch_size: int, bench: Bench) -> Encoding:
    generator = torch.Generator().manual_seed(0)
    if kind.reads == "sound":
        chunk = 2 * tower.n_window
        num_chunks = -(-SOUND_ROWS // chunk) * batch_size
        mel_CRM = torch.randn(num_chunks, chunk, tower.num_mel_bins, generator=generator)
        return Encoding(tower, mel_CRM.to(bench.device, tower.dtype), [SOUND_ROWS] * batch_size, encode_sounds)
    patches = Patches.of(tower.config)
    side = patches.size * patches.merge
    limit = 4 * side * side if bench.is_tiny else kind.max_pixels
    height, width = patches.resize(min(kind.min_pixels, limit), limit).target_hw(HEIGHT, WIDTH)
    grid = [NUM_FRAMES // patches.temporal, height // patches.size, width // patches.size]
    num_patches = batch_size * grid[0] * grid[1] * grid[2]
    patches_NP = torch.randn(num_patches, 3 * patches.temporal * patches.size**2, generator=generator)
    return Encoding(tower, patches_NP.to(bench.device), grid * batch_size)
