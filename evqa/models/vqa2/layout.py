"""The published checkpoints' keys: which of them holds which weight, and which are never needed."""

from __future__ import annotations

from evqa.models.hub import Checkpoint
from evqa.models.key_adapter import KeyAdapter, Prefixes

NUM_BLOCKS = 5  # of SlowFast-R50 without its head
BLOCKS = tuple(f"motion.pathway.blocks.{i}" for i in range(NUM_BLOCKS))
DEAD = "dead"  # in our names: weights of the slow pathway, which reach no output and are never built


def motion_prefixes(slowfast: str) -> Prefixes:
    """Our names and published keys of a motion branch that stands under the key `slowfast`; its projector beside it."""
    blocks = [(i, ours, f"{slowfast}.feature_extraction.{i}") for i, ours in enumerate(BLOCKS)]
    return (
        *((ours, f"{theirs}.multipathway_blocks.1") for _, ours, theirs in blocks),
        *((f"{DEAD}.{i}.slow", f"{theirs}.multipathway_blocks.0") for i, _, theirs in blocks),
        *((f"{DEAD}.{i}.lateral", f"{theirs}.multipathway_fusion") for i, _, theirs in blocks),
        ("motion.position_embedding", f"{slowfast}.position_embedding"),
        ("motion_projector", f"{slowfast}_projector"),
    )


def dead_patterns(slowfast: str) -> tuple[str, ...]:
    """Patterns of the slow pathway's keys."""
    extractor = f"{slowfast}.feature_extraction"
    return (f"{extractor}.*.multipathway_blocks.0.*", f"{extractor}.*.multipathway_fusion.*")


def stored_shapes(checkpoint: Checkpoint, adapter: KeyAdapter) -> dict[str, tuple[int, ...]]:
    """List our names of everything that a checkpoint holds and knows a name for, with its shapes."""
    with checkpoint.about():
        shapes = {adapter.name_of(key): one.shape for file in checkpoint.files() for key, one in file.tensors.items()}
    return {name: shape for name, shape in shapes.items() if name is not None}


ADAPTER = KeyAdapter(
    prefixes=(
        ("body.vision_tower", "model.vision_tower.vision_tower.vision_model"),
        ("body.multi_modal_projector.linear_1", "model.mm_projector.0"),
        ("body.multi_modal_projector.linear_2", "model.mm_projector.2"),
        ("body.language_model", "model"),
        ("body.image_newline", "model.image_newline"),
        *motion_prefixes("model.slowfast"),
        ("lm_head", "lm_head"),
    ),
    # LLaVA-OneVision as transformers named it before 4.52.
    older=(
        ("language_model.lm_head.", "lm_head."),
        ("language_model.model.", "model."),
        ("multi_modal_projector.linear_1.", "model.mm_projector.0."),
        ("multi_modal_projector.linear_2.", "model.mm_projector.2."),
        ("vision_tower.vision_model.", "model.vision_tower.vision_tower.vision_model."),
        ("image_newline", "model.image_newline"),
    ),
    unused=dead_patterns("model.slowfast"),
)
