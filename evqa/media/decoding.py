"""Decoding where it can do no harm: a hostile file may crash the decoder, fill the memory, or never end."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evqa.errors import MediaError
from evqa.machine.isolated import call_isolated
from evqa.media.clip import ClipSpec, new_spool, read_clip
from evqa.media.spool import Spool, SpooledFrames
from evqa.types import Clip

HANG_FACTOR = 6  # times `timeout_seconds`: more than `Budget` allows, so it could not check the clock


def decode_isolated(path: Path, spec: ClipSpec, *, folder: str | None = None) -> Clip | str:
    """Read a clip in a process of its own; a file that has none gives the reason, which will be the same next time.

    folder: where a motion stream is kept; None, and where it cannot be written: among the temporary files.

    Raises:
        MediaError: there is no clip, but perhaps the machine was at fault: its disk, its memory, a permission.
    """
    seconds = HANG_FACTOR * spec.patience.timeout_seconds
    with _spool_for(path, spec, folder) as spool:
        outcome = call_isolated(partial(_decode, spec=spec), _job(path, spool), seconds=seconds)
    if outcome.error is not None:
        if outcome.exit_status in (None, -signal.SIGKILL):  # took too long, or the system was short of memory
            raise MediaError(path, outcome.error)
        return outcome.error
    return _answer(path, outcome.value or ("", False), spool)


def decode_here(path: Path, spec: ClipSpec, *, folder: str | None = None) -> Clip | str:
    """Read a clip as `decode_isolated` does, but in this process, which a file that crashes the decoder ends.

    For a few files that somebody has named: to start a process that imports torch takes longer than to read them.
    """
    with _spool_for(path, spec, folder) as spool:
        try:
            answer = _decode(_job(path, spool), spec=spec)
        except Exception as error:
            raise MediaError(path, f"{type(error).__name__}: {error}") from error
    return _answer(path, answer, spool)


@contextlib.contextmanager
def _spool_for(path: Path, spec: ClipSpec, folder: str | None) -> Iterator[Spool | None]:
    """The file of a motion stream; behind the block it has no name any more."""
    spool = None if spec.motion is None else new_spool(path, folder)
    try:
        yield spool
    finally:
        if spool is not None:
            spool.forget_name()


def _job(path: Path, spool: Spool | None) -> tuple[Path, str | None]:
    return path.absolute(), None if spool is None else spool.place


def _answer(path: Path, answer: tuple[dict[str, Any] | str, bool], spool: Spool | None) -> Clip | str:
    content, is_lasting = answer
    if isinstance(content, dict):
        return _as_clip(content, spool)
    if not is_lasting:
        raise MediaError(path, content)
    return content


def _decode(job: tuple[Path, str | None], *, spec: ClipSpec) -> tuple[dict[str, Any] | str, bool]:
    """Return a clip's fields, or the reason why there is none and whether that will last."""
    wall, cpu = time.monotonic(), time.thread_time()
    path, place = job
    try:
        clip = read_clip(path, spec, spool=None if place is None else Spool.opened(place))
    except MediaError as error:
        limit = spec.patience.timeout_seconds
        stalled = time.monotonic() - wall > 2 * limit and time.thread_time() - cpu < limit
        return error.reason, not (stalled or isinstance(error.__cause__, OSError | MemoryError))
    return as_arrays(clip), True


def as_arrays(clip: Clip) -> dict[str, Any]:
    """Return the fields of a clip with arrays for tensors, which travel to another process without a copy more."""
    values = {field.name: getattr(clip, field.name) for field in dataclasses.fields(Clip)}
    if clip.motion is not None:  # its frames are in a file that both processes have open
        motion = clip.motion
        values["motion"] = {"seconds_N": motion.seconds_N.numpy(), "height": motion.height, "width": motion.width}
    return {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in values.items()}


def _as_clip(content: dict[str, Any], spool: Spool | None) -> Clip:
    values: dict[str, Any] = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in content.items()
    }
    if motion := content["motion"]:
        assert spool is not None
        seconds_N = torch.from_numpy(motion["seconds_N"])
        values["motion"] = SpooledFrames(spool, seconds_N=seconds_N, height=motion["height"], width=motion["width"])
    return Clip(**values)
