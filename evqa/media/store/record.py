"""One clip, or the reason why there is none, as bytes.

    head, zeros to a whole page, sections

The head (struct and JSON) says which clip this is, how many bytes follow and their checksums; the sections are the
clip's tensors one after the other. The waveform is kept as 16-bit samples, which is what it was made of.
"""

from __future__ import annotations

import dataclasses
import json
import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from evqa.media.store.buffers import LentMemory
from evqa.media.store.frames import FrameMemory, pack_frames
from evqa.types import Clip, ImageGrid

PAGE = 4096
MOST_PIECES = 1024  # that one call of the system fills (IOV_MAX of Linux)
MAGIC = b"evqaclp1"
_HEAD = struct.Struct("<8s32sIQQQ")  # magic, key, bytes of JSON, bytes of sections, checksums of JSON and of sections

_PLAIN = (
    "missing",
    "seconds",
    "num_frames",
    "picture_start_seconds",
    "sound_start_seconds",
)  # fields of a clip that JSON holds

Content = Clip | str  # a clip, or the sentence that says why the file has none
Section = LentMemory | FrameMemory  # what is read into


class DamagedRecordError(Exception):
    """Bytes that are not the record that was wanted; the text says how."""


def encode(key: bytes, content: Content, *, jpeg_quality: int | None) -> list[memoryview]:
    """Return the record's bytes in pieces, whole pages together."""
    sections: list[Tensor] = []
    meta = {"reason": content} if isinstance(content, str) else _describe(content, sections, jpeg_quality)
    text = json.dumps(meta, separators=(",", ":")).encode()
    pieces = [_bytes(section) for section in sections]
    size = sum(piece.nbytes for piece in pieces)
    head = _HEAD.pack(MAGIC, key, len(text), size, xxhash.xxh3_64_intdigest(text), _checksum(pieces)) + text
    tail = bytes(-size % PAGE)
    return [memoryview(head + bytes(-len(head) % PAGE)), *pieces, memoryview(tail)]


def decode(descriptor: int, offset: int, key: bytes, *, check: bool) -> Content:
    """Read the record of `key` at `offset`; `check` compares the sections with their checksum, too.

    Raises:
        DamagedRecordError: it is not there, or not what was written.
    """
    head = os.pread(descriptor, PAGE, offset)
    if len(head) < _HEAD.size:
        raise DamagedRecordError("the file ends before it")
    magic, found, text_bytes, size, text_sum, section_sum = _HEAD.unpack_from(head)
    if magic != MAGIC or found != key:
        raise DamagedRecordError("another record, or none, lies there")
    if _HEAD.size + text_bytes > PAGE:
        head += os.pread(descriptor, _HEAD.size + text_bytes - PAGE, offset + PAGE)
    text = head[_HEAD.size : _HEAD.size + text_bytes]
    if xxhash.xxh3_64_intdigest(text) != text_sum:
        raise DamagedRecordError("its head does not fit its checksum")
    meta = _parse(text)
    if "reason" in meta:
        return str(meta["reason"])
    sections = [_section(meta, *described) for described in meta["sections"]]
    pieces = [piece.data.cast("B") for section in sections for piece in _pieces(section) if piece.size]
    if sum(piece.nbytes for piece in pieces) != size:
        raise DamagedRecordError("its head contradicts itself")
    start = offset + _pages(_HEAD.size + text_bytes)
    if _read_into(descriptor, pieces, start) != size:
        raise DamagedRecordError("the file ends inside it")
    if check and _checksum(pieces) != section_sum:
        raise DamagedRecordError("its content does not fit its checksum")
    return _restore(meta, sections)


@lru_cache(maxsize=256)
def _parse(text: bytes) -> dict[str, Any]:
    """Read a head's JSON. Records of one specification mostly have the same, so answers are kept; never change one."""
    meta: dict[str, Any] = json.loads(text)
    return meta


def _describe(clip: Clip, sections: list[Tensor], jpeg_quality: int | None) -> dict[str, Any]:
    """Fill `sections` with the clip's tensors and return what restores them."""
    meta: dict[str, Any] = {name: getattr(clip, name) for name in _PLAIN}
    meta |= {"image": None if clip.image is None else dataclasses.asdict(clip.image), "sections": []}
    for field in dataclasses.fields(clip):
        tensor = getattr(clip, field.name)
        if not isinstance(tensor, Tensor):
            assert tensor is None or field.name in (*_PLAIN, "image"), f"a clip's {field.name} cannot be stored"
            continue
        if field.name == "frames_FHWC":
            meta["frames"], tensor = pack_frames(tensor, jpeg_quality=jpeg_quality)
        elif field.name == "waveform_S":
            tensor = _as_samples(tensor)
        sections.append(tensor.contiguous())
        meta["sections"].append([field.name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)])
    return meta


def _restore(meta: dict[str, Any], sections: Sequence[Section]) -> Clip:
    tensors: dict[str, Any] = {}
    for (name, kind, _), section in zip(meta["sections"], sections, strict=True):
        if isinstance(section, FrameMemory):
            tensors[name] = section.restore()
        elif name == "waveform_S" and kind == "int16":
            tensors[name] = section.tensor.float().div_(32768)
        else:
            tensors[name] = section.tensor
    image = None if meta["image"] is None else ImageGrid(**meta["image"])
    plain = {name: meta[name] for name in _PLAIN}
    return Clip(**(tensors | plain | {"missing": tuple(meta["missing"]), "image": image}))


def _as_samples(waveform_S: Tensor) -> Tensor:
    """Return 16-bit samples where that loses nothing, else the waveform itself."""
    samples = (waveform_S * 32768).round().clamp(-32768, 32767).to(torch.int16)
    return samples if torch.equal(samples.float() / 32768, waveform_S) else waveform_S


def _section(meta: dict[str, Any], name: str, kind: str, shape: Sequence[int]) -> Section:
    if name == "frames_FHWC":
        return FrameMemory(meta["frames"], shape[0])
    array = np.empty(shape, dtype=kind)
    return LentMemory(array, torch.from_numpy(array))


def _pieces(section: Section) -> Sequence[NDArray[Any]]:
    return section.pieces if isinstance(section, FrameMemory) else [section.array]


def _bytes(tensor: Tensor) -> memoryview:
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def _checksum(pieces: Sequence[memoryview]) -> int:
    total = xxhash.xxh3_64()
    for piece in pieces:
        total.update(piece)
    return total.intdigest()


def _pages(num_bytes: int) -> int:
    return -(-num_bytes // PAGE) * PAGE


def _read_into(descriptor: int, pieces: Sequence[memoryview], offset: int) -> int:
    """Fill the pieces from the file and return how many bytes were there."""
    total = 0
    left = list(pieces)
    while left:
        count = os.preadv(descriptor, left[:MOST_PIECES], offset + total)
        if not count:
            break
        total += count
        while left and count >= left[0].nbytes:
            count -= left.pop(0).nbytes
        if count:
            left[0] = left[0][count:]
    return total
