"""What `benchmark gpu` measures: one line a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Size = Literal["published", "tiny"]
Device = Literal["cuda", "cpu"]

VIDEOLLAMA2 = ("experiment=videollama2_av_lora",)
VQA2 = ("experiment=vqa2_ugc_stage2_lora",)
FULL = ("experiment=videollama2_av_lora", "lora=none", "trainer.precision=bf16-true")
UNTRAINED = (*VIDEOLLAMA2, "lora=none", "frames=uniform8")
PURE = "trainer.precision=bf16-pure"
# The published code when it scores: 16 s of sound padded to 30, attention with a mask, float16 weights.
PUBLISHED = (*UNTRAINED, "audio=clips_8x2", "head.pooling=original")
PUBLISHED_MODEL = ("model.exact=true", "model.dtype=float16", "trainer.precision=32", "data.batch_size=1")

# The same class by its own place: the module that conf/ names imports all that decodes.
WITHOUT_DECODING = "data.cache._target_=evqa.media.store.settings.CacheSettings"
COMPILED, LIGER = ("trainer.compile=true",), ("trainer.kernels=liger",)
NO_RECOMPUTATION = ("model.recompute=0", "model.recompute_media=false")


@dataclass(frozen=True)
class Row:
    """One measurement: overrides of a recipe, and what no setting can change.

    change: a key of `evqa.benchmarking.gpu.changes.CHANGES`; of Qwen's encoders, whose recipe is a key of
    `evqa.benchmarking.gpu.qwen.TOWERS`, "serial" for transformers' own attention; of scoring, "apart" for adapters that
    are not merged. needs: a package without which the row is left out.
    """

    name: str
    overrides: tuple[str, ...] = ()
    recipe: tuple[str, ...] = VIDEOLLAMA2
    change: str | None = None
    needs: str | None = None


TRAIN = (
    Row("recipe (batch 4)"),
    Row("without recomputation", NO_RECOMPUTATION),
    Row(
        "without recomputation, compiled, liger's kernels", (*NO_RECOMPUTATION, *COMPILED, *LIGER), needs="liger_kernel"
    ),
    Row("without recomputation, batch 8", (*NO_RECOMPUTATION, "data.batch_size=8")),
    Row("half of the layers recomputed", ("model.recompute=0.5",)),
    Row("as many recomputed as the card asks for, batch 8", ("model.recompute=auto", "data.batch_size=8")),
    Row("batch 1", ("data.batch_size=1",)),
    Row("batch 2", ("data.batch_size=2",)),
    Row("batch 8", ("data.batch_size=8",)),
    Row("batch 16", ("data.batch_size=16",)),
    Row("adapters as peft computes them", change="adapters as peft's"),
    Row("frozen encoders under autocasting", change="encoders under autocasting"),
    Row("dropout 0.05 in adapters", ("lora.dropout=0.05",)),
    Row("attention with a mask", ("head.pooling=original",)),
    Row("attention step by step", ("model.attention=eager",)),
    Row("bfloat16 weights", ("trainer.precision=bf16-true",)),
    Row("no adapters, all trained in bfloat16", recipe=FULL),
    Row("VQA², stage 2", recipe=VQA2),
    Row("liger's kernels", LIGER, needs="liger_kernel"),
    Row("without recomputation, compiled", (*NO_RECOMPUTATION, *COMPILED)),
)
QLORA = (
    Row("QLoRA, batch 4", ("lora=qlora",), needs="bitsandbytes"),
    Row("QLoRA, batch 1", ("lora=qlora", "data.batch_size=1"), needs="bitsandbytes"),
)
SCORE = (
    Row("batch 8", ("data.batch_size=8",)),
    Row("batch 8, adapters apart", ("data.batch_size=8",), change="apart"),
    Row("batch 8, bf16-pure", ("data.batch_size=8", PURE)),
    Row("batch 1", ("data.batch_size=1",)),
    Row("batch 32, bf16-pure", ("data.batch_size=32", PURE)),
    Row("VQA², batch 4", ("data.batch_size=4",), recipe=VQA2),
)
PARITY = (Row("bfloat16 beside float32", ("trainer.precision=32",)),)
BASELINE = (
    Row("published order of work", PUBLISHED_MODEL, recipe=PUBLISHED, needs="PIL"),
    Row("evqa, batch 8, read ahead", ("data.batch_size=8",), recipe=UNTRAINED),
    Row("evqa, batch 8, read ahead, bf16-pure", ("data.batch_size=8", PURE), recipe=UNTRAINED),
)
QWEN = tuple(
    Row(f"{tower}, batch {size}{', serial' if serial else ''}", (f"data.batch_size={size}",), (tower,), serial)
    for tower in ("Qwen2.5-VL vision", "Qwen2.5-Omni audio", "Qwen3-VL vision")
    for size, serial in ((1, None), (4, None), (4, "serial"))
)
# In the order in which they run, with their shares of the time.
PARTS: dict[str, tuple[tuple[Row, ...], float]] = {
    "train": (TRAIN, 0.45),
    "score": (SCORE, 0.15),
    "baseline": (BASELINE, 0.10),
    "parity": (PARITY, 0.08),
    "qlora": (QLORA, 0.06),
    "qwen": (QWEN, 0.06),
    "count": ((*TRAIN, *QLORA), 0.10),
}
NEEDS_GPU = tuple(name for name in PARTS if name != "count")


def overrides_of(row: Row, *, size: Size, device: Device) -> list[str]:
    """All settings of a row, on random weights of a size, on a device."""
    on_cpu = ("trainer.accelerator=cpu", "trainer.precision=32") if device == "cpu" else ()
    tiny = ("model.dtype=float32", "trainer.accumulate=2") if size == "tiny" else ()
    return [
        *row.recipe,
        *("model.checkpoint=null", "model.revision=null", "model.license=null", f"model.size={size}", "logger=csv"),
        WITHOUT_DECODING,
        *on_cpu,
        *tiny,
        *row.overrides,
    ]
