"""Decoding where it can do no harm: a hostile file may crash the decoder, fill the memory, or never end."""

from __future__ import annotations

import dataclasses
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from evqa.errors import MediaError
from evqa.machine.isolated import call_isolated
from evqa.media.clip import ClipSpec, read_clip
from evqa.types import Clip

HANG_FACTOR = 6  # times `timeout_seconds`: more than `Budget` allows, so it could not check the clock


def decode_isolated(path: Path, spec: ClipSpec) -> Clip | str:
    """Read a clip in a process of its own; a file that has none gives the reason, which will be the same next time.

    Raises:
        MediaError: there is no clip, but perhaps the machine was at fault: its disk, its memory, a permission.
    """
    seconds = HANG_FACTOR * spec.limits.timeout_seconds
    outcome = call_isolated(partial(_decode, spec=spec), path.absolute(), seconds=seconds)
    if outcome.error is not None:
        if outcome.exit_status in (None, -signal.SIGKILL):  # took too long, or the system was short of memory
            raise MediaError(path, outcome.error)
        return outcome.error
    content, is_lasting = outcome.value or ("", False)
    if isinstance(content, dict):
        return Clip(**{name: _as_tensor(value) for name, value in content.items()})
    if not is_lasting:
        raise MediaError(path, content)
    return content


def _decode(path: Path, *, spec: ClipSpec) -> tuple[dict[str, Any] | str, bool]:
    """Return a clip's fields, or the reason why there is none and whether that will last. Runs in its own process."""
    wall, cpu = time.monotonic(), time.thread_time()
    try:
        clip = read_clip(path, spec)
    except MediaError as error:
        limit = spec.limits.timeout_seconds
        stalled = time.monotonic() - wall > 2 * limit and time.thread_time() - cpu < limit
        return error.reason, not (stalled or isinstance(error.__cause__, OSError | MemoryError))
    return as_arrays(clip), True


def as_arrays(clip: Clip) -> dict[str, Any]:
    """Return the fields of a clip with arrays for tensors, which travel to another process without a copy more."""
    values = {field.name: getattr(clip, field.name) for field in dataclasses.fields(Clip)}
    return {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in values.items()}


def _as_tensor(value: Any) -> Any:
    return value if value is None or isinstance(value, tuple) else torch.from_numpy(value)
