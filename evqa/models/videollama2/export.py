"""Writing a trained model back in the published layout, so that the original code can load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evqa.errors import CheckpointError
from evqa.media.spec import ClipSpec
from evqa.models.exporting import (
    SHARD_BYTES,
    Entries,
    Entry,
    base_entries,
    copy_settings,
    dtype_of,
    entries_of,
    write_json,
    write_weights,
)
from evqa.models.hub import Checkpoint, plain_settings
from evqa.models.qwen2_tokenizer import write_tokenizer
from evqa.models.safety import file_of, read_foreign
from evqa.models.source import Source
from evqa.models.videollama2 import build
from evqa.models.videollama2.dims import PUBLISHED, Dims
from evqa.models.videollama2.layout import HEAD, PREFIXES, Shape, key_adapter, unused_shapes
from evqa.prompts.chat import Chat


def export(
    model: nn.Module,
    folder: Path,
    source: Source[Dims],
    *,
    head_state: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write weights, `config.json` and tokenizer to a folder; adapters must be merged before.

    What the model does not hold (unused layers, towers left out) is copied from the checkpoint that it was built
    from; of a model with random weights the unused layers are written as zeros and towers left out are not written.

    source: what the model was built from. head_state: the regression head's fc1 and fc2, on a scale of 0-100; empty
    writes none. settings: `run_settings`. shard_bytes: largest file; one file is held in memory at a time.

    Raises:
        CheckpointError: a tensor does not fit the published layout.
    """
    write_weights(_plan(model, source, head_state), folder, key_adapter(source.dims), shard_bytes=shard_bytes)
    _write_config(model, folder, source, settings)
    if source.checkpoint is not None:
        copy_settings(source.checkpoint, folder)
    else:
        write_tokenizer(source.tokenizer, folder, max_text_tokens=settings["tokenizer_model_max_length"])


def _plan(model: nn.Module, source: Source[Dims], head_state: Mapping[str, Tensor]) -> Entries:
    """Decide for every key where its tensor comes from."""
    adapter, dtype = key_adapter(source.dims), dtype_of(model)
    own = entries_of(model, adapter) | _head_entries(head_state, source.dims.language.hidden_size)
    unused = unused_shapes(source.dims)
    names = build.build_parts(source.dims, attention="sdpa").state_dict().keys()
    rest = {name: adapter.key_of(name) for name in names if adapter.key_of(name) not in own}
    if source.checkpoint is not None:
        rest |= {str(adapter.name_of(key)): key for key in unused}
        return base_entries(source.checkpoint, adapter, rest, dtype=dtype) | own
    built = tuple(PREFIXES[name] for name, _ in model.named_children() if name.endswith("_tower"))
    zeros = {key: shape for key, shape in unused.items() if key.startswith(built)}
    if "lm_head.weight" in rest:
        zeros["lm_head.weight"] = (source.dims.language.vocab_size, source.dims.language.hidden_size)
    return {key: _zeros(shape, dtype) for key, shape in zeros.items()} | own


def _zeros(shape: Shape, dtype: torch.dtype) -> Entry:
    return Entry(torch.Size(shape).numel() * dtype.itemsize, lambda: torch.zeros(shape, dtype=dtype))


def _head_entries(head_state: Mapping[str, Tensor], width: int) -> Entries:
    shapes = {
        "fc1.weight": (width // 2, width),
        "fc1.bias": (width // 2,),
        "fc2.weight": (1, width // 2),
        "fc2.bias": (1,),
    }
    entries = {}
    for name, tensor in head_state.items():
        if tuple(tensor.shape) != shapes.get(name):
            raise CheckpointError(
                f"the head's {name} has shape {tuple(tensor.shape)}, {HEAD}{name} has {shapes.get(name)} in the "
                "published layout; train with head.hidden=null to export it"
            )
        entries[HEAD + name] = Entry(tensor.numel() * 4, lambda t=tensor: t.detach().float().cpu())  # type: ignore[misc]
    return entries


def _write_config(model: nn.Module, folder: Path, source: Source[Dims], settings: Mapping[str, Any]) -> None:
    config = source.dims.to_config()
    is_published_tower = source.dims.vision == PUBLISHED.vision
    if source.checkpoint is not None:
        config = plain_settings(source.checkpoint) | _language_name(source.checkpoint)
        if not is_published_tower:  # its sizes may lie in a folder of their own, which is not exported
            config["vision_config"] = source.dims.to_config()["vision_config"]
    else:
        built = {name for name, _ in model.named_children()}
        config |= {f"mm_{tower}": None for tower in ("vision_tower", "audio_tower") if tower not in built}
        if not is_published_tower:
            config["mm_vision_tower"] = None
    dtype = str(dtype_of(model)).removeprefix("torch.")
    write_json(folder / "config.json", config | dict(settings) | {"torch_dtype": dtype})


def _language_name(base: Checkpoint) -> dict[str, str]:
    """Name of the language model, by which older versions of the original choose their class; no place of a machine."""
    with base.about():
        name = str(read_foreign(file_of(base.folder, "config.json")).get("_name_or_path") or "")
    is_hub_name = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    return {"_name_or_path": name if is_hub_name else Path(name).name} if name else {}


def why_unloadable(source: Source[Dims], *, has_vision: bool) -> str | None:
    """Say why the original's code cannot load an export of a model, or None where it can."""
    base = source.checkpoint
    if base is None or base.on_paper:
        named = source.dims.vision == PUBLISHED.vision
    else:
        named = bool(plain_settings(base).get("mm_vision_tower"))
    if not has_vision or named:
        return None
    return (
        "the original's code cannot load it: that code takes the vision tower's sizes from a published SigLIP, and "
        "this tower has sizes of its own (mm_vision_tower is null in config.json)."
    )


def how_to_load(source: Source[Dims], *, has_vision: bool, exact: bool) -> str:
    """Say in a model card what an export gives in evqa's and in other hands."""
    here = "`model.checkpoint=FOLDER` gives evqa the scorer as it was evaluated."
    if reason := why_unloadable(source, has_vision=has_vision):
        return f"{here} Nothing else loads it: {reason}"
    same = (
        "With `model.exact=true`, as here, it computes the same score of the same frames and sound; its own\n"
        "`test.py` takes `num_frames` frames spread over the whole clip and eight clips of 2 s of the sound."
    )
    other = (
        "It computes another function of them (`model.exact=false` here: no padding of the sound to 30 s, other\n"
        "resizing and rounding; docs/videollama2.md has the list), so its scores differ."
    )
    theirs = "LMM-EVQA's code (transformers 4.42) loads the folder, a regression head included."
    return f"{here}\n{theirs}\n{same if exact else other}"


def run_settings(clip: ClipSpec, chat: Chat) -> dict[str, Any]:
    """What the original's code reads of how a model was trained, as this run had it.

    `num_frames` decides how many frames the original samples; `image_aspect_ratio` is pad for grey bars. The length of
    its sound has no setting: it is always eight clips of 2 s, padded to 30 s.
    """
    frames = clip.frames
    settings: dict[str, Any] = {"image_aspect_ratio": "pad" if frames and frames.resize.mode == "pad" else "square"}
    settings |= {} if frames is None else {"num_frames": frames.sampling.count}
    return settings | {"tokenizer_model_max_length": chat.max_text_tokens}
