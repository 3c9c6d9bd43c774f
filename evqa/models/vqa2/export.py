"""Writing a trained model back in the published layout, so that the original code can load it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from evqa.models.exporting import (
    SHARD_BYTES,
    base_entries,
    copy_settings,
    dtype_of,
    entries_of,
    write_json,
    write_weights,
)
from evqa.models.hub import plain_settings
from evqa.models.qwen2_tokenizer import write_tokenizer
from evqa.models.source import Source
from evqa.models.vqa2.dims import Vqa2Dims
from evqa.models.vqa2.layout import ADAPTER, stored_shapes
from evqa.models.weights import read_head


def export(model: nn.Module, folder: Path, source: Source[Vqa2Dims], *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write weights, `config.json` and tokenizer to a folder; adapters must be merged before.

    What the model does not hold (the slow pathway, a motion branch or LM head that was not built) is copied from the
    checkpoint that it was built from; of a model with random weights it is not written.

    Raises:
        CheckpointError: a tensor does not fit the published layout.
    """
    base, entries, dtype = source.checkpoint, entries_of(model, ADAPTER), dtype_of(model)
    if base is not None:
        stored = {name: ADAPTER.key_of(name) for name in stored_shapes(base, ADAPTER)}
        rest = {name: key for name, key in stored.items() if key not in entries}
        entries = base_entries(base, ADAPTER, rest, dtype=dtype) | entries
    write_weights(entries, folder, ADAPTER, shard_bytes=shard_bytes)
    config = source.dims.to_config() if base is None else plain_settings(base)
    write_json(folder / "config.json", config | {"torch_dtype": str(dtype).removeprefix("torch.")})
    if base is None:
        longest = source.dims.language.max_position_embeddings
        write_tokenizer(source.tokenizer, folder, max_text_tokens=longest)
    else:
        copy_settings(base, folder)


def head_state(source: Source[Vqa2Dims], *, width: int) -> dict[str, Tensor]:
    """Read a regression head that lies beside the weights; empty without one."""
    return {} if source.checkpoint is None else read_head(source.checkpoint, ADAPTER, width=width)


def how_to_load(*, exact: bool) -> str:
    """Say in a model card what an export gives in evqa's and in other hands."""
    other = "" if exact else " It resizes otherwise (`model.exact=false` here), so its scores differ a little."
    return (
        "`model.checkpoint=FOLDER` gives evqa the scorer as it was evaluated.\n"
        "VQA²'s code loads the folder under its own key names; how a question is worded and which frames are read\n"
        f"decides the score there as here.{other}"
    )
