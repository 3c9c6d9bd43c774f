"""What is known about the media files of a data set: inspected once, in parallel, without trusting them."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

from evqa.datasets.copies import NO_HASH, visual_hash
from evqa.datasets.splits import Records
from evqa.errors import FileError, MediaError
from evqa.files.content import content_hash
from evqa.files.names import shown
from evqa.files.progress import counted
from evqa.files.regular import check_readable
from evqa.files.whole import write_table
from evqa.machine.cores import num_cores
from evqa.machine.isolated import map_isolated
from evqa.media.limits import Limits
from evqa.types import Failure, Record

_BYTES_PER_SECOND = 5e6  # a slow disk, for the time limit of hashing


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file as it was when it was inspected; the columns of manifest.csv in their order.

    id, split: of the record. duration: s. width, height: as shown, after rotation. sha256: empty until `evqa.prepare`
    has read the whole file. visual_hash: see evqa.datasets.copies; empty until `evqa.prepare` with data.copies=near.
    error: why the file cannot be read, else empty.
    """

    id: str
    path: str
    split: str = ""
    bytes: int = 0
    mtime_ns: int = 0
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    fps: float | None = None
    frames: int | None = None
    video_codec: str = ""
    audio_codec: str = ""
    audio_rate_hz: int | None = None
    sha256: str = ""
    visual_hash: str = ""
    error: str = ""

    def is_fresh(self, *, hashed: bool = False, visually_hashed: bool = False) -> bool:
        """Whether the file has not changed since, and was hashed in the ways that are wanted."""
        try:
            facts = os.stat(self.path)  # noqa: PTH116 (the path is a text here)
        except OSError:
            return False
        same = (facts.st_size, facts.st_mtime_ns) == (self.bytes, self.mtime_ns)
        complete = (bool(self.sha256) or not hashed) and (bool(self.visual_hash) or not visually_hashed)
        return same and (complete or bool(self.error))


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Records whose files can be opened, those whose files cannot, and all facts."""

    usable: Records
    failures: tuple[Failure, ...]
    facts: tuple[FileFacts, ...]


def check_files(
    records: Mapping[str, Records],
    *,
    manifest: Path,
    limits: Limits | None = None,
    needs_picture: bool = False,
    needs_sound: bool = False,
    hashed: bool = False,
    visually_hashed: bool = False,
    remember: bool = True,
    num_workers: int | None = None,
) -> Checked:
    """Inspect the file of every record, unless the manifest knows it and the file has not changed since.

    records: by split ("" where it is not known). manifest: read where it exists, and written back with what is new;
    its other rows stay. needs_picture, needs_sound: a file without is a failure. hashed: also read every file as a
    whole. visually_hashed: also take the hash by which copies are found. remember: write the manifest. A file can
    neither hang nor kill the caller.
    """
    known = {facts.path: facts for facts in read_manifest(manifest)}
    wanted = [(split, record) for split, of in records.items() for record in of]
    places = {place for _, record in wanted for place in _places(record)}
    found = {path: known[path] for path in places & known.keys()}
    found = {
        path: facts for path, facts in found.items() if facts.is_fresh(hashed=hashed, visually_hashed=visually_hashed)
    }
    todo = sorted(places - found.keys())
    inspect = partial(inspect_file, limits=limits or Limits(), hashed=hashed, visually_hashed=visually_hashed)
    try:
        _inspect_all(inspect, todo, into=found, num_workers=num_workers or num_cores())
    finally:  # Ctrl-C does not take along what was inspected before
        facts = tuple(
            _named(found[place], record.id, split)
            for split, record in wanted
            for place in _places(record)
            if place in found
        )
        if todo and remember:
            _remember(manifest, [*facts, *(old for path, old in known.items() if path not in found)])
    reasons = {path: one.error or _lack(one, picture=needs_picture, sound=needs_sound) for path, one in found.items()}
    return Checked(
        usable=tuple(record for _, record in wanted if not any(reasons[place] for place in _places(record))),
        failures=tuple(Failure(id=one.id, reason=reasons[one.path]) for one in facts if reasons[one.path]),
        facts=facts,
    )


def read_manifest(path: Path) -> list[FileFacts]:
    """Read a manifest; a missing or damaged one holds nothing, it is only a memory of what can be inspected again."""
    try:
        check_readable(path)
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [_parse(row) for row in csv.DictReader(file, strict=True)]
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        return []


def write_manifest(path: Path, facts: Iterable[FileFacts]) -> None:
    """Write a manifest whole or not at all."""
    names = [field.name for field in fields(FileFacts)]
    write_table(path, names, ([_cell(value) for value in asdict(one).values()] for one in facts))


def inspect_file(path: str, *, limits: Limits, hashed: bool = False, visually_hashed: bool = False) -> FileFacts:
    """Inspect one file (in a worker process). A file that cannot be read is described by its `error`."""
    from evqa.media.probe import probe  # PyAV and torch

    facts = _stat(path)
    try:
        info = probe(Path(path), limits)
        facts = replace(
            facts,
            duration=info.duration,
            width=info.width,
            height=info.height,
            rotation=info.rotation,
            fps=info.fps,
            frames=info.num_frames,
            video_codec=info.video_codec or "",
            audio_codec=info.audio_codec or "",
            audio_rate_hz=info.audio_rate_hz,
        )
        if visually_hashed:
            facts = replace(facts, visual_hash=visual_hash(Path(path), limits) if info.width else NO_HASH)
        return replace(facts, sha256=content_hash(Path(path))) if hashed else facts
    except MediaError as error:
        return replace(facts, error=error.reason)


def _lack(facts: FileFacts, *, picture: bool, sound: bool) -> str:
    if picture and facts.width is None:
        return "has no video track; give a video, or use modal=a"
    return "has no audio track; give a video with sound, or use modal=v" if sound and not facts.audio_codec else ""


def _named(facts: FileFacts, name: str, split: str) -> FileFacts:
    return replace(facts, id=name, split=split or facts.split)


def _remember(path: Path, facts: Sequence[FileFacts]) -> None:
    try:
        write_manifest(path, facts)
    except FileError as error:
        warnings.warn(f"{shown(error)}; all files will be inspected again next time", stacklevel=3)


def _inspect_all(
    inspect: partial[FileFacts], paths: Sequence[str], *, into: dict[str, FileFacts], num_workers: int
) -> None:
    if not paths:
        return
    largest = max(_stat(path).bytes for path in paths) if inspect.keywords["hashed"] else 0
    seconds = 10 * inspect.keywords["limits"].timeout_seconds + largest / _BYTES_PER_SECOND
    with counted("inspecting files", len(paths)) as counting:
        for outcome in counting.watch(map_isolated(inspect, paths, num_workers=num_workers, seconds=seconds)):
            path = paths[outcome.index]
            into[path] = outcome.value or replace(_stat(path), error=outcome.error or "")


def _stat(path: str) -> FileFacts:
    try:
        facts = os.stat(path)  # noqa: PTH116
    except OSError:
        return FileFacts(id="", path=path)
    return FileFacts(id="", path=path, bytes=facts.st_size, mtime_ns=facts.st_mtime_ns)


def _places(record: Record) -> tuple[str, ...]:
    return tuple(str(path.absolute()) for path in record.paths)


def _cell(value: str | int | float | None) -> str:
    return "" if value is None else str(value)


def _parse(row: dict[str, str]) -> FileFacts:
    def number(name: str) -> float | None:
        return float(row[name]) if row[name] else None

    def whole(name: str) -> int | None:
        return int(row[name]) if row[name] else None

    return FileFacts(
        id=row["id"],
        path=row["path"],
        split=row["split"],
        bytes=int(row["bytes"]),
        mtime_ns=int(row["mtime_ns"]),
        duration=number("duration"),
        width=whole("width"),
        height=whole("height"),
        rotation=whole("rotation"),
        fps=number("fps"),
        frames=whole("frames"),
        video_codec=row["video_codec"],
        audio_codec=row["audio_codec"],
        audio_rate_hz=whole("audio_rate_hz"),
        sha256=row["sha256"],
        visual_hash=row["visual_hash"],
        error=row["error"],
    )
