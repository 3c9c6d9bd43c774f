"""Fill a model that holds no memory yet from a checkpoint: every key is accounted for, one tensor is read at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from evqa.errors import CheckpointError, MissingDependencyError
from evqa.models.four_bit import pack
from evqa.models.hub import Checkpoint, quiet
from evqa.models.key_adapter import KeyAdapter
from evqa.models.safety import check_head, file_of, one_line
from evqa.models.shards import shard_for
from evqa.models.weight_files import HEAD_FILE, StoredTensor, WeightFile, side_files

FLOATING = ("F64", "F32", "F16", "BF16")  # of 16 bits or more; in fewer, a weight means nothing without its scale


def build_empty(kind: type, config: Any, *, dtype: str, attention: str) -> Any:
    """Build a transformers model whose weights hold no memory yet; buffers are real.

    Raises:
        CheckpointError: the configuration describes nothing that can be built.
    """
    from accelerate import init_empty_weights

    try:
        with quiet(), init_empty_weights(include_buffers=False):
            return cast("Any", kind)._from_config(config, dtype=getattr(torch, dtype), attn_implementation=attention)
    except ImportError as error:
        raise MissingDependencyError(
            f"model.attention={attention} needs a package that is not installed ({str(error).splitlines()[0]}). "
            "Install it, or use model.attention=sdpa."
        ) from error
    except Exception as error:  # of any kind: the sizes come from the checkpoint's config.json
        raise CheckpointError(f"model.checkpoint: config.json describes no model ({one_line(error)})") from error


@dataclass(kw_only=True)
class Inventory:
    """Where a checkpoint holds each weight, by our names, and the keys that have no place: each file adds what it has.

    complete: our names of everything that a model of this kind can have; what is not built is known all the same.
    """

    adapter: KeyAdapter
    complete: Collection[str]
    places: dict[str, tuple[WeightFile, str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    def add(self, file: WeightFile, *, is_side: bool = False) -> None:
        """Enter a file's keys; a side file gives only what no main file has. Raises FileError as the file does."""
        for key in file.tensors:
            name = self.adapter.name_of(key)
            if name is None or name not in self.complete:
                self.unexpected += [] if self.adapter.is_unused(key) else [key]
            elif name not in self.places:
                self.places[name] = (file, key)
            elif not is_side and not any(map(self.adapter.is_copy, (key, self.places[name][1]))):
                self.twice.append(key)

    def stored(self, name: str) -> StoredTensor:
        """Return shape and type of a weight that has a place."""
        file, key = self.places[name]
        return file.tensors[key]

    def each(self, names: Collection[str], take: Callable[[str, Tensor], None]) -> None:
        """Call `take` with one weight after the other, file by file: it copies what it keeps."""
        for file in dict.fromkeys(file for file, _ in self.places.values()):
            wanted = {key: name for name, (place, key) in self.places.items() if place is file and name in names}
            file.each(wanted, partial(_under, wanted, take))


def _under(names: Mapping[str, str], take: Callable[[str, Tensor], None], key: str, tensor: Tensor) -> None:
    take(names[key], tensor)


def take_inventory(
    checkpoint: Checkpoint, adapter: KeyAdapter, *, complete: Collection[str], wanted: Collection[str]
) -> Inventory:
    """Look through a checkpoint's files; side files are opened only for what the main files lack of `wanted`.

    Raises:
        CheckpointError: a file is damaged or no file.
    """
    inventory = Inventory(adapter=adapter, complete=complete)
    with checkpoint.about():
        for file in checkpoint.files():
            inventory.add(file)
        for file in side_files(checkpoint.folder, adapter.side_files):
            if set(wanted) - inventory.places.keys():
                inventory.add(file, is_side=True)
    return inventory


def load_weights(
    model: nn.Module,
    checkpoint: Checkpoint,
    adapter: KeyAdapter,
    *,
    complete: Collection[str],
    device: torch.device | str = "cpu",
) -> None:
    """Give everything of a model that is on the meta device its weights, on `device`, in the types that the model has.

    Only what the model has is read, so a part that was not built costs nothing. One tensor at a time is on its way, and
    one file at a time is mapped; with device="meta" everything is read and checked, and nothing kept. Of a weight that
    is sharded over processes each keeps its slice.

    Raises:
        CheckpointError: weights are missing, unexpected, of another shape or type, or a file is damaged. Lists all.
    """
    wanted = {names[0]: names for names in _shared_names(model)}
    state = model.state_dict(keep_vars=True)
    found = take_inventory(checkpoint, adapter, complete=complete, wanted=wanted)
    check_inventory(found, {name: state[name] for name in wanted}, checkpoint=checkpoint)

    def take(name: str, tensor: Tensor) -> None:
        moved = tensor.to(device)  # before it is cast: a second copy lies where there is room for it
        _place(model, wanted[name], moved.to(state[name].dtype, copy=moved is tensor), empty=state[name])
        pack(model, wanted[name], empty=state[name])

    with checkpoint.about():
        found.each(wanted, take)


def check_inventory(found: Inventory, wanted: Mapping[str, Tensor], *, checkpoint: Checkpoint) -> None:
    """Compare what a checkpoint holds with what a model needs.

    Raises:
        CheckpointError: lists every key that is missing, unexpected, stored twice, or of another shape or type.
    """
    key_of, here = found.adapter.key_of, [name for name in wanted if name in found.places]
    problems = {
        "missing": [key_of(name) for name in wanted if name not in found.places],
        "unexpected": found.unexpected,
        "stored twice": found.twice,
        "of another shape": [
            f"{found.places[name][1]} has shape {found.stored(name).shape}, but config.json describes a model with "
            f"{tuple(wanted[name].shape)}"
            for name in here
            if found.stored(name).shape != tuple(wanted[name].shape)
        ],
        "not stored as floating-point numbers of 16 bits or more": [
            f"{found.places[name][1]} is {found.stored(name).kind}"
            for name in here
            if wanted[name].is_floating_point() and found.stored(name).kind not in FLOATING
        ],
    }
    lines = [f"{len(keys)} {kind}: {_some(sorted(keys))}" for kind, keys in problems.items() if keys]
    if lines:
        raise CheckpointError(
            f"model.checkpoint={checkpoint.name}: the weights do not fit this model; keys " + "; ".join(lines)
        )


def read_head(checkpoint: Checkpoint, adapter: KeyAdapter, *, width: int) -> dict[str, Tensor]:
    """Read the regression head of a merged or published checkpoint (float32, fc1.weight, ...); empty without one.

    Raises:
        CheckpointError: the head is incomplete, does not fit hidden states of this width, or its file is damaged.
    """
    with checkpoint.about():
        if (checkpoint.folder / HEAD_FILE).exists():
            files, prefix = [WeightFile(file_of(checkpoint.folder, HEAD_FILE))], ""
        elif adapter.head is not None:
            files, prefix = checkpoint.files(), adapter.head
        else:
            return {}
        held = {file: [key for key in file.tensors if key.startswith(prefix)] for file in files}
        state: dict[str, Tensor] = {}
        for file, keys in held.items():
            file.each(keys, lambda key, tensor: state.update({key.removeprefix(prefix): tensor.clone()}))
        if not state and prefix:
            return {}
        check_head(next(file for file, keys in held.items() if keys or not prefix).path, state, width=width)
    return {name: tensor.float() for name, tensor in state.items()}


def _shared_names(model: nn.Module) -> list[list[str]]:
    """Names of everything without memory that a checkpoint holds; those of one shared tensor stand together."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_meta:
            names.setdefault(id(tensor), []).append(name)
    return list(names.values())


def _place(model: nn.Module, names: Sequence[str], tensor: Tensor, *, empty: Tensor) -> None:
    """Put a tensor in place of an empty one, or of a shard its slice, under all of its names."""
    is_parameter, tensor = isinstance(empty, nn.Parameter), shard_for(empty, tensor)
    placed = nn.Parameter(tensor, requires_grad=empty.requires_grad) if is_parameter else tensor
    for name in names:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, placed)


def _some(names: Sequence[str], limit: int = 40) -> str:
    rest = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
