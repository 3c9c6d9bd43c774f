"""The weight files of a checkpoint folder: what each holds, and its tensors one at a time.

safetensors first; a pickled file is read by `torch.load(weights_only=True)`, which runs no code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evqa.errors import FileError
from evqa.files.regular import check_readable
from evqa.models.safety import file_of, indexed_files, one_line

HEAD_FILE = "head.safetensors"  # of a merged run, beside the model's own weights
MERGED = "merged"  # in a run's folder: its best weights, for trainings that start from them
MAIN_FILES = ("model.safetensors", "pytorch_model.bin")  # each also as shards with <name>.index.json
KINDS = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a training, and not of weights."""
    return (folder / "config.yaml").is_file() and not (folder / "config.json").exists()


@dataclass(frozen=True)
class StoredTensor:
    """Shape of a stored tensor, and its type as safetensors names it ("BF16")."""

    shape: tuple[int, ...]
    kind: str


@dataclass(frozen=True)
class WeightFile:
    """One file of tensors; nothing of it stays in memory. Raises FileError where it is damaged or no file."""

    path: Path

    @cached_property
    def tensors(self) -> dict[str, StoredTensor]:
        """What the file holds, by key."""
        if not self._is_pickled:
            with self._opened() as file:
                slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (no dictionary)
                return {key: StoredTensor(tuple(part.get_shape()), part.get_dtype()) for key, part in slices.items()}
        return {
            key: StoredTensor(tuple(tensor.shape), KINDS.get(tensor.dtype, str(tensor.dtype).removeprefix("torch.")))
            for key, tensor in self._unpickled().items()
        }

    def each(self, keys: Iterable[str], take: Callable[[str, Tensor], None]) -> None:
        """Call `take` with one tensor after the other, mapped from disk: it copies what it keeps.

        It is called, not iterated over: a loop's variable would keep this file mapped while the next one is opened.
        """
        keys = list(keys)
        if not keys:
            return
        if self._is_pickled:
            content = self._unpickled()
            for key in keys:
                take(key, content.pop(key))
            return
        with self._opened() as file:
            for key in keys:
                take(key, file.get_tensor(key))

    @property
    def _is_pickled(self) -> bool:
        return self.path.suffix != ".safetensors"

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        from safetensors import SafetensorError, safe_open

        self._check()
        try:
            with safe_open(self.path, framework="pt") as file:
                yield file
        except (SafetensorError, OSError) as error:
            raise FileError(self.path, f"cannot be read: damaged or unfinished ({error})") from error

    def _unpickled(self) -> dict[str, Tensor]:
        self._check()
        try:
            with self.path.open("rb") as file:
                mapped = file.read(2) == b"PK"  # the older format cannot be mapped
            content = torch.load(self.path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # of any kind, from within a damaged pickle
            raise FileError(self.path, f"cannot be read: {_why_unread(error)}") from error
        named = isinstance(content, dict) and all(isinstance(key, str) for key in content)
        if not named or not all(isinstance(value, Tensor) for value in content.values()):
            raise FileError(self.path, "cannot be read: it must hold a dictionary of tensors")
        return dict(content)

    def _check(self) -> None:
        if not self.path.exists():
            raise FileError(self.path, "is in the index but not there (an unfinished download?)")
        check_readable(self.path)


def _why_unread(error: Exception) -> str:
    """Name the class of a pickled object; PyTorch's own message advises to run its code."""
    if foreign := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
        return (
            f"not a plain file of tensors: it holds a {foreign[1]}, and loading that would run code; store the tensors "
            "alone, `torch.save(module.state_dict(), FILE)` or as safetensors"
        )
    return f"not a plain file of tensors, or damaged ({one_line(error)})"


def main_files(folder: Path) -> list[WeightFile]:
    """List the files that hold a folder's weights, without opening them.

    Raises:
        FileError: there is none, or an index is damaged or names files elsewhere.
    """
    for name in MAIN_FILES:
        index = folder / f"{name}.index.json"
        if index.exists():
            return [WeightFile(path) for path in indexed_files(index)]
        if (folder / name).exists():
            return [WeightFile(file_of(folder, name))]
        others = sorted(file.name for file in folder.glob(f"*{Path(name).suffix}") if file.name != HEAD_FILE)
        if others and name == MAIN_FILES[0]:
            return [WeightFile(file_of(folder, other)) for other in others]
    raise FileError(folder, f"holds no weights; expected {' or '.join(MAIN_FILES)}, or its index.json")


def side_files(folder: Path, names: Iterable[str]) -> list[WeightFile]:
    """List those of the named files that a folder has."""
    return [WeightFile(file_of(folder, name)) for name in names if (folder / name).exists()]
