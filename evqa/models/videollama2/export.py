"""Writing a trained model back in the published layout, so that the original code can load it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from evqa.errors import CheckpointError
from evqa.files.whole import write_whole
from evqa.models.safety import about, file_of, read_foreign
from evqa.models.videollama2 import build, layout
from evqa.models.videollama2.chat import END, PAD, START, SYSTEM, TOKENIZER_FILES
from evqa.models.videollama2.checkpoint import CheckpointFolder
from evqa.models.videollama2.dims import PUBLISHED, read_config
from evqa.models.videollama2.model import Videollama2

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    + SYSTEM
    + "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Entry:
    """One tensor of the export; `make` fetches it when its shard is written."""

    num_bytes: int
    make: Callable[[], Tensor]


def export(
    model: Videollama2,
    head_state: Mapping[str, Tensor] | None,
    folder: str | Path,
    *,
    head_scale: float = 100.0,
    max_shard_bytes: int = 5_000_000_000,
) -> Path:
    """Write weights, `config.json` and tokenizer to a new folder; adapters are merged, the model is left as it is.

    What the model does not hold (unused layers, towers left out) is copied from the checkpoint that it was built
    from; of a model with random weights the unused layers are written as zeros and towers left out are not written.

    Args:
        model: as trained, with or without adapters (peft), also over 4-bit layers if it came from a checkpoint.
        head_state: the regression head's fc1 and fc2; None writes none.
        folder: must be absent or empty.
        head_scale: size of the head's output (`head.scale`); the last layer is rescaled to the original's 0-100.
        max_shard_bytes: largest shard; one shard is held in memory at a time.

    Raises:
        CheckpointError: the folder is not empty, or a tensor does not fit the published layout.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder}: must be a new or empty folder")
    entries = _plan(model, head_state, head_scale)
    folder.mkdir(parents=True, exist_ok=True)
    _write_shards(entries, folder, max_shard_bytes)
    _write_config(model, folder)
    _write_tokenizer(model, folder)
    return folder


def _plan(model: Videollama2, head_state: Mapping[str, Tensor] | None, head_scale: float) -> dict[str, Entry]:
    """Decide for every key where its tensor comes from."""
    known = build.known_shapes(model.dims, build.build_parts(model.dims, attention="sdpa"))
    dtype = model.language.embed_tokens.weight.dtype
    entries = _from_model(model, known, dtype) | _from_head(head_state, known, head_scale)
    rest = known.keys() - entries.keys() - layout.head_shapes(model.dims).keys()
    held: dict[str, Entry] = {}
    if model.source.folder is not None:
        files = CheckpointFolder(model.source.folder)
        places = files.places(rest)
        held = {key: _from_file(files, key, known[key], dtype) for key in rest if key in places}
    elif rest:
        towers = {layout.PREFIXES[name] for name in ("vision_tower", "audio_tower") if getattr(model, name) is not None}
        unused = {key for key in layout.unused_shapes(model.dims) if key.startswith(tuple(towers))} if towers else set()
        zeros = unused | {"lm_head.weight"} & rest
        held = {key: _entry(known[key], dtype, _zeros(known[key], dtype)) for key in zeros}
    everything = held | entries
    bias, *copies = layout.shared_bias_names(model.dims)
    return everything | (dict.fromkeys(copies, everything[bias]) if bias in everything else {})


def _entry(shape: layout.Shape, dtype: torch.dtype, make: Callable[[], Tensor]) -> Entry:
    return Entry(torch.Size(shape).numel() * dtype.itemsize, make)


def _zeros(shape: layout.Shape, dtype: torch.dtype) -> Callable[[], Tensor]:
    return lambda: torch.zeros(shape, dtype=dtype)


def _from_file(files: CheckpointFolder, key: str, shape: layout.Shape, dtype: torch.dtype) -> Entry:
    def make() -> Tensor:
        (_, tensor), = files.read({key: key}, files.places([key]))  # fmt: skip
        return tensor.to(dtype, copy=True)

    return _entry(shape, dtype, make)


def _from_head(
    head_state: Mapping[str, Tensor] | None, known: Mapping[str, layout.Shape], scale: float
) -> dict[str, Entry]:
    entries = {}
    for name, tensor in (head_state or {}).items():
        key = layout.HEAD + name
        if tuple(tensor.shape) != known.get(key):
            raise CheckpointError(f"the head's {name} has shape {tuple(tensor.shape)}, {key} has {known.get(key)}")
        factor = 100.0 / scale if name.startswith("fc2.") else 1.0
        entries[key] = Entry(tensor.numel() * 4, lambda t=tensor, f=factor: (t.detach().float() * f).cpu())  # type: ignore[misc]
    return entries


def _from_model(model: Videollama2, known: Mapping[str, layout.Shape], dtype: torch.dtype) -> dict[str, Entry]:
    """Name the model's own tensors as published; an adapted layer yields its merged weight."""
    entries = {}
    for name, tensor in model.state_dict().items():
        if ".lora_" in name:
            continue
        key = layout.published_name(name.replace(".base_layer.", "."))
        if key not in known:
            raise CheckpointError(f"{name} has no place in the published layout")
        if ".base_layer." in name and name.endswith(".weight"):
            layer = model.get_submodule(name.partition(".base_layer.")[0])
            entries[key] = _entry(known[key], dtype, _merged(model, layer, key, known[key], dtype))
        else:
            entries[key] = _entry(known[key], dtype, lambda t=tensor: t.detach().to("cpu", dtype))  # type: ignore[misc]
    return entries


def _merged(model: Videollama2, layer: Any, key: str, shape: layout.Shape, dtype: torch.dtype) -> Callable[[], Tensor]:
    """Base weight plus adapters, added in float32. A 4-bit base is replaced by the checkpoint's own weight."""

    def make() -> Tensor:
        weight: Tensor = layer.base_layer.weight.detach()
        if tuple(weight.shape) != shape:
            if model.source.folder is None:
                raise CheckpointError(f"{key} is held in 4 bits, and no checkpoint has its full weight")
            weight = _from_file(CheckpointFolder(model.source.folder), key, shape, dtype).make()
        delta = sum(layer.get_delta_weight(adapter).detach().float().cpu() for adapter in layer.active_adapters)
        merged: Tensor = (weight.float().cpu() + delta).to(dtype)
        return merged

    return make


def _write_shards(entries: Mapping[str, Entry], folder: Path, max_shard_bytes: int) -> None:
    shards: list[list[str]] = [[]]
    size = 0
    for key in sorted(entries):
        if shards[-1] and size + entries[key].num_bytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(key)
        size += entries[key].num_bytes
    weight_map: dict[str, str] = {}
    for number, keys in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {key: entries[key].make().clone().contiguous() for key in keys}
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(keys, name)
    index = {"metadata": {"total_size": sum(entry.num_bytes for entry in entries.values())}, "weight_map": weight_map}
    _write_json(folder / "model.safetensors.index.json", index)


def _write_config(model: Videollama2, folder: Path) -> None:
    config = model.dims.to_config()
    if model.source.folder is not None:
        config = read_config(model.source.folder) | _language_name(model.source.folder)
        if model.dims.vision != PUBLISHED.vision:  # they may lie in a folder of their own, which is not exported
            config["vision_config"] = model.dims.to_config()["vision_config"]
    else:
        left_out = {"mm_vision_tower": model.vision_tower, "mm_audio_tower": model.audio_tower}
        config |= {key: None for key, tower in left_out.items() if tower is None}
        if model.dims.vision != PUBLISHED.vision:
            config["mm_vision_tower"] = None
    dtype = str(model.language.embed_tokens.weight.dtype).removeprefix("torch.")
    _write_json(folder / "config.json", config | run_settings(model) | {"torch_dtype": dtype})


def _language_name(base: Path) -> dict[str, str]:
    """Name of the language model, by which older versions of the original choose their class; no place of a machine."""
    name = str(read_foreign(base / "config.json").get("_name_or_path") or "")
    is_hub_name = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    return {"_name_or_path": name if is_hub_name else Path(name).name} if name else {}


def why_unloadable(model: Videollama2) -> str | None:
    """Say why the original's code cannot load an export of this model, or None where it can."""
    base = model.source.folder
    named = model.dims.vision == PUBLISHED.vision if base is None else bool(read_config(base).get("mm_vision_tower"))
    if model.vision_tower is None or named:
        return None
    return (
        "the original's code cannot load it: that code takes the vision tower's sizes from a published SigLIP, and "
        "this tower has sizes of its own (mm_vision_tower is null in config.json)."
    )


def how_to_load(model: Videollama2) -> str:
    """Say in a model card what an export gives in evqa's and in other hands."""
    here = "`model.checkpoint=FOLDER` gives evqa the scorer as it was evaluated."
    if reason := why_unloadable(model):
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
    return f"{here}\n{theirs}\n{same if model.exact else other}"


def run_settings(model: Videollama2) -> dict[str, Any]:
    """What the original's code reads of how a model was trained, as this run had it.

    `num_frames` decides how many frames the original samples; `image_aspect_ratio` is pad for grey bars. The length of
    its sound has no setting: it is always eight clips of 2 s, padded to 30 s.
    """
    frames = model.preparer.clip.frames
    seen: dict[str, Any] = {"image_aspect_ratio": "pad" if frames and frames.resize.mode == "pad" else "square"}
    seen |= {} if frames is None else {"num_frames": frames.sampling.count}
    return seen | {"tokenizer_model_max_length": model.chat.max_text_tokens}


def _write_tokenizer(model: Videollama2, folder: Path) -> None:
    base = model.source.folder
    if base is not None:
        for name in TOKENIZER_FILES:
            if (base / name).exists():
                with about():
                    shutil.copyfile(file_of(base, name), folder / name)
        return
    model.chat.tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": PAD,
                "additional_special_tokens": [START, END], "chat_template": CHAT_TEMPLATE,
                "model_max_length": model.chat.max_text_tokens, "padding_side": "right"}  # fmt: skip
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
