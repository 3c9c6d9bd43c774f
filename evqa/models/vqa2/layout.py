"""The published checkpoints' keys: which of them holds which weight, and which are never needed."""

from __future__ import annotations

from evqa.models.key_adapter import KeyAdapter

EXTRACTOR = "model.slowfast.feature_extraction"
NUM_BLOCKS = 5  # of SlowFast-R50 without its head
DEAD = "dead"  # in our names: weights of the slow pathway, which reach no output and are never built
ADAPTER = KeyAdapter(
    prefixes=(
        ("body.vision_tower", "model.vision_tower.vision_tower.vision_model"),
        ("body.multi_modal_projector.linear_1", "model.mm_projector.0"),
        ("body.multi_modal_projector.linear_2", "model.mm_projector.2"),
        ("body.language_model", "model"),
        ("body.image_newline", "model.image_newline"),
        *((f"motion.pathway.blocks.{i}", f"{EXTRACTOR}.{i}.multipathway_blocks.1") for i in range(NUM_BLOCKS)),
        *((f"{DEAD}.{i}.slow", f"{EXTRACTOR}.{i}.multipathway_blocks.0") for i in range(NUM_BLOCKS)),
        *((f"{DEAD}.{i}.lateral", f"{EXTRACTOR}.{i}.multipathway_fusion") for i in range(NUM_BLOCKS)),
        ("motion.position_embedding", "model.slowfast.position_embedding"),
        ("motion_projector", "model.slowfast_projector"),
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
    unused=(f"{EXTRACTOR}.*.multipathway_blocks.0.*", f"{EXTRACTOR}.*.multipathway_fusion.*"),
)
