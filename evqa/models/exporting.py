"""Write a model as a folder that others load: its weights shard by shard, and the base's own small files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evqa.errors import CheckpointError
from evqa.files.whole import write_whole
from evqa.models.hub import SETTINGS_FILES, TOKENIZER_FILES, Checkpoint
from evqa.models.key_adapter import KeyAdapter
from evqa.models.safety import file_of, read_foreign, without_code
from evqa.models.weights import take_inventory

SHARD_BYTES = 5_000_000_000
# Written by transformers while it loads a folder: true of one machine, or only of one version.
LOCAL_KEYS = ("is_local", "local_files_only", "name_or_path", "backend", "processor_class_path")


@dataclass(frozen=True)
class Entry:
    """One tensor of an export; `make` fetches it when its shard is written."""

    num_bytes: int
    make: Callable[[], Tensor]


Entries = dict[str, Entry]


def entries_of(model: nn.Module, adapter: KeyAdapter) -> Entries:
    """Name a model's own weights as published files do, in the types that it holds them in; a shared one once.

    Raises:
        CheckpointError: a weight has no place there (adapters must be merged before).
    """
    entries: Entries = {}
    for name, tensor in (*model.named_parameters(), *_buffers(model)):
        try:
            key = adapter.key_of(name)
        except KeyError:
            key = ""
        if not key or ".lora_" in name or ".base_layer." in name:
            raise CheckpointError(f"{name} has no place in the published layout; merge adapters before an export")
        entries[key] = Entry(tensor.numel() * tensor.element_size(), lambda t=tensor: t.detach().cpu())  # type: ignore[misc]
    return entries


def base_entries(
    checkpoint: Checkpoint, adapter: KeyAdapter, names: Mapping[str, str], *, dtype: torch.dtype
) -> Entries:
    """Take weights over from the base that a model was built from, as far as it has them.

    names: what they are called here -> the key that they get. Whole numbers (counters) keep their type.
    """
    found = take_inventory(checkpoint, adapter, complete=names.keys(), wanted=names.keys())

    def entry(name: str) -> Entry:
        def make() -> Tensor:
            kept: list[Tensor] = []
            with checkpoint.about():
                found.each([name], lambda _, tensor: kept.append(_cast(tensor, dtype)))
            return kept[0]

        return Entry(torch.Size(found.stored(name).shape).numel() * dtype.itemsize, make)

    return {key: entry(name) for name, key in names.items() if name in found.places}


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True)


def write_weights(entries: Entries, folder: Path, adapter: KeyAdapter, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write safetensors files of a bounded size, one in memory at a time; several get an index.

    Raises:
        CheckpointError: the folder is not new or empty.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CheckpointError(f"{folder}: must be a new or empty folder")
    entries = entries | {key: entries[one] for one, keys in adapter.copies if one in entries for key in keys}
    shards = _shards(entries, shard_bytes)
    places: dict[str, str] = {}
    for number, keys in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        save_file({key: entries[key].make().clone().contiguous() for key in keys}, folder / name, {"format": "pt"})
        places |= dict.fromkeys(keys, name)
    if len(shards) > 1:
        size = sum(entry.num_bytes for entry in entries.values())
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": places})


def _shards(entries: Mapping[str, Entry], shard_bytes: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for key in sorted(entries):
        if shards[-1] and size + entries[key].num_bytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(key)
        size += entries[key].num_bytes
    return shards


def dtype_of(model: nn.Module) -> torch.dtype:
    """Type of a model's frozen weights; trained parts may be held in another one."""
    kinds = [parameter.dtype for parameter in model.parameters()]
    return min(kinds, key=lambda kind: kind.itemsize)


def _buffers(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """The buffers that a checkpoint holds (running means); constants are computed anew."""
    held = model.state_dict(keep_vars=True)
    return ((name, tensor) for name, tensor in model.named_buffers() if name in held)


def copy_settings(checkpoint: Checkpoint, folder: Path) -> None:
    """Copy the base's tokenizer and processor files, as far as it has them."""
    for name in dict.fromkeys((*TOKENIZER_FILES, *SETTINGS_FILES)):
        if (checkpoint.folder / name).exists():
            _copy(checkpoint, name, folder)


def _copy(checkpoint: Checkpoint, name: str, folder: Path) -> None:
    """Copy one small file; what asks for code or is true of one machine only is left out."""
    with checkpoint.about():
        source = file_of(checkpoint.folder, name)
        before = read_foreign(source) if name in SETTINGS_FILES else {}
    settings = {key: value for key, value in without_code(before).items() if key not in LOCAL_KEYS}
    if settings.get("tokenizer_class") == "TokenizersBackend":  # its name in transformers 5 alone
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if settings == before:
        shutil.copyfile(source, folder / name)
    else:
        write_json(folder / name, settings)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file as others write theirs: two spaces, letters of every script."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
