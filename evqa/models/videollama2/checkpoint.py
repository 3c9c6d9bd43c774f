"""Reading published checkpoints: finding the folder, accounting for every key, and loading one file at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from evqa.errors import CheckpointError, FileError
from evqa.files.regular import check_readable
from evqa.models.safety import about, check_floating, file_of, indexed_files, one_line
from evqa.models.videollama2.chat import TOKENIZER_FILES
from evqa.models.videollama2.layout import Shape, is_buffer

SIDE_FILES = ("audio_tower.bin", "mm_projector_a.bin", "mm_projector.bin")
MAIN_FILES = ("model.safetensors", "pytorch_model.bin")  # each also as shards with <name>.index.json
DOWNLOADS = ("config.json", *TOKENIZER_FILES, *SIDE_FILES, "model*.safetensors*", "pytorch_model*.bin*")


def locate(checkpoint: str, *, revision: str | None) -> Path:
    """Return the folder of a local checkpoint, or download one from the Hugging Face hub.

    Raises:
        CheckpointError: neither a folder nor a hub id, a hub id without revision, or nothing could be downloaded.
    """
    path = Path(checkpoint).expanduser()
    if path.is_dir():
        return path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", checkpoint) or path.exists() or checkpoint.startswith("."):
        raise CheckpointError(f"model.checkpoint={checkpoint!r}: no such folder (and not a hub id like owner/name)")
    if not revision:
        raise CheckpointError(
            f"model.checkpoint={checkpoint!r} is a hub id and needs model.revision=<commit>, so that a run can be "
            f"repeated; commits are listed at https://huggingface.co/{checkpoint}/commits/main"
        )
    return _download(checkpoint, revision)


def _download(checkpoint: str, revision: str) -> Path:
    """Take the folder from the local cache where it is complete; otherwise fetch it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = list(DOWNLOADS)
    try:
        cached = Path(snapshot_download(checkpoint, revision=revision, allow_patterns=patterns, local_files_only=True))
        if _is_complete(cached):
            return cached
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(checkpoint, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"model.checkpoint={checkpoint!r} (revision {revision}) could not be fetched from the Hugging Face hub: "
            f"{reason.rstrip('.')}. Without network, download the folder elsewhere and give its path."
        ) from error


def _is_complete(folder: Path) -> bool:
    try:
        return (folder / "config.json").is_file() and all(path.is_file() for path in _main_paths(folder))
    except (CheckpointError, FileError):
        return False


@dataclass(frozen=True)
class WeightFile:
    """One file of tensors; nothing of it stays in memory."""

    path: Path

    @cached_property
    def names(self) -> frozenset[str]:
        """Keys in the file."""
        self._check()
        if self.path.suffix == ".safetensors":
            with self._open() as file:
                return frozenset(file.keys())
        return frozenset(self._unpickled())

    def tensors(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield tensors by name, mapped from disk: copy what shall outlive the file."""
        names = list(names)
        if not names:
            return
        if self.path.suffix == ".safetensors":
            with self._open() as file:
                for name in names:
                    yield name, self._floating(name, file.get_tensor(name))
            return
        content = self._unpickled()
        for name in names:
            yield name, self._floating(name, content[name])

    def _check(self) -> None:
        if not self.path.exists():
            raise CheckpointError(f"{self.path}: in the index but not there (an unfinished download?)")
        with about():
            check_readable(self.path)

    def _floating(self, name: str, tensor: Tensor) -> Tensor:
        with about():
            check_floating(self.path, name, tensor)
        return tensor

    def _open(self) -> safe_open:
        try:
            return safe_open(self.path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path}: damaged or unfinished ({error})") from error

    def _unpickled(self) -> dict[str, Tensor]:
        """Read a pickled state dict without ever running code from it."""
        try:
            with self.path.open("rb") as file:
                mapped = file.read(2) == b"PK"  # the older format cannot be mapped
            content = torch.load(self.path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # of any kind, from within a damaged pickle
            raise CheckpointError(
                f"{self.path}: not a plain file of tensors, or damaged ({one_line(error)})"
            ) from error
        named = isinstance(content, dict) and all(isinstance(key, str) for key in content)
        if not named or not all(isinstance(value, Tensor) for value in content.values()):
            raise CheckpointError(f"{self.path}: must hold a dictionary of tensors")
        return dict(content)


class CheckpointFolder:
    """The weight files of one folder. Main files (safetensors before .bin) come before side files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with about():
            self.main = [WeightFile(path) for path in _main_paths(folder)]
            self.side = [WeightFile(file_of(folder, name)) for name in SIDE_FILES if (folder / name).exists()]

    def num_tensors(self) -> int:
        """Count the tensors of the main files."""
        return sum(len(file.names) for file in self.main)

    def places(self, wanted: Iterable[str] = ()) -> dict[str, WeightFile]:
        """Map keys to files. Side files are opened only if they are needed for something that is wanted."""
        places = {name: file for file in self.main for name in file.names}
        if set(wanted) - places.keys():
            for file in self.side:
                places = dict.fromkeys(file.names, file) | places
        return places

    def read(self, wanted: Mapping[str, str], places: Mapping[str, WeightFile]) -> Iterator[tuple[str, Tensor]]:
        """Yield tensors one by one, file by file, under their new names (`wanted`: key -> new name)."""
        for file in dict.fromkeys(places.values()):
            for key, tensor in file.tensors([key for key in wanted if places.get(key) is file]):
                yield wanted[key], tensor


def _main_paths(folder: Path) -> list[Path]:
    for name in MAIN_FILES:
        index = folder / f"{name}.index.json"
        if index.exists():
            return indexed_files(index)
        if (folder / name).exists():
            return [file_of(folder, name)]
    raise CheckpointError(f"{folder}: no weights; expected one of {', '.join(MAIN_FILES)} or their index.json")


def account(needed: Mapping[str, Shape], known: Iterable[str], found: Iterable[str], *, folder: Path) -> None:
    """Check that a checkpoint has every key that is needed and none that is unknown.

    Raises:
        CheckpointError: lists what is missing and what is unexpected.
    """
    found = set(found)
    missing = sorted(needed.keys() - found)
    unexpected = sorted(key for key in found - set(known) - needed.keys() if not is_buffer(key))
    problems = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in
                (("missing", missing), ("unexpected", unexpected)) if keys]  # fmt: skip
    if problems:
        raise CheckpointError(f"{folder}: the weights do not fit this model; keys " + "; ".join(problems))


def check_shape(key: str, tensor: Tensor, expected: Shape, *, folder: Path) -> None:
    """Compare a tensor's shape with the model's.

    Raises:
        CheckpointError: they differ.
    """
    if tuple(tensor.shape) != expected:
        raise CheckpointError(
            f"{folder}: {key} has shape {tuple(tensor.shape)}, but config.json describes a model with {expected}"
        )


def _some(names: list[str], limit: int = 40) -> str:
    rest = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
