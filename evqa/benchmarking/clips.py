"""The videos that the data path is measured on."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from evqa.benchmarking.reference import why_unreadable
from evqa.errors import MediaError, RunError
from evqa.files.whole import whole_path
from evqa.media.clip import ClipSpec, read_clip
from evqa.media.portrait import write_portrait_clip
from evqa.media.suffixes import VIDEO

GENERATED = Path("cache/benchmark")
_SECONDS = (6.0, 8.5, 12.0, 17.0)  # SnapUGC: 5 to 60 s, half of them below 10 s


def choose_clips(videos: str | None, spec: ClipSpec, console: Console, *, at_most: int) -> list[Path]:
    """Return readable videos of a folder, a file or a pattern, evenly chosen, or clips like SnapUGC's, made once.

    Raises:
        RunError: there is none.
    """
    if videos is None:
        return _generated(console)[:at_most]
    found = _found(videos)
    chosen = found[:: max(1, len(found) // at_most)][:at_most]
    readable = [path for path in chosen if _is_readable(path, spec, console)]
    if not readable:
        raise RunError(f"--videos {videos}: none of {len(chosen)} files can be read; give a folder or a pattern.")
    return readable


def _found(videos: str) -> list[Path]:
    folder = Path(videos)
    if folder.is_dir():
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO)
    return sorted(Path(name) for name in glob.glob(os.path.expanduser(videos)))  # noqa: PTH207, PTH111 (absolute too)


def _is_readable(path: Path, spec: ClipSpec, console: Console) -> bool:
    try:
        read_clip(path, spec)
        reason = why_unreadable(path)
    except MediaError as error:
        reason = error.reason
    if reason:
        console.print(f"Left out: {path}: {reason}", style="yellow")
    return not reason


def _generated(console: Console, seconds: Sequence[float] = _SECONDS) -> list[Path]:
    GENERATED.mkdir(parents=True, exist_ok=True)
    paths = [GENERATED / f"portrait_{index}_{length:g}s.mp4" for index, length in enumerate(seconds)]
    for seed, (path, length) in enumerate(zip(paths, seconds, strict=True)):
        if not path.exists():
            console.print(f"Making {path} ...")
            with whole_path(path) as draft:
                write_portrait_clip(draft, seconds=length, seed=seed)
    return paths
