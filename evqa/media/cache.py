"""A cache of decoded clips: what `read_clip` gives, from disk at the speed of the disk."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from evqa.errors import EvqaError, MediaError
from evqa.media.clip import STILL_WITHOUT_FRAMES, ClipSpec, with_sound
from evqa.media.decoding import decode_here, decode_isolated
from evqa.media.store.disk import Disk
from evqa.media.store.hashes import FileHash
from evqa.media.store.record import Content
from evqa.media.store.settings import CacheSettings
from evqa.media.store.shards import CacheFullError
from evqa.types import Clip


class CacheError(EvqaError):
    """A cache that cannot be filled as asked."""


class Stored(NamedTuple):
    """What became of a file: found (it was in the cache), stored, busy (another process is at it), or failed.

    reason: why the file gives no clip; a failure that is not the file's fault is not kept. num_bytes: written.
    """

    state: Literal["found", "stored", "busy", "failed"]
    reason: str | None = None
    num_bytes: int = 0


class CachedReader:
    """`read_clip` for one specification, through the cache; also where settings.folder is null.

    Pictures and sound are stored apart, so that readings of one, of the other and of both share what is stored.
    Threads may share one reader; a copy that is sent or forked to another process starts afresh there.
    isolated: decode what is not in the cache in a process of its own; else in this one.
    """

    def __init__(self, settings: CacheSettings, spec: ClipSpec, isolated: bool = True) -> None:
        self.settings, self.spec, self.isolated = settings, spec, isolated
        parts = (spec,) if settings.folder is None else spec.streams
        said = set[str]()
        self.streams = tuple(CachedStream(settings, part, said, isolated=isolated) for part in parts)

    def __reduce__(self) -> tuple[type, tuple[CacheSettings, ClipSpec, bool]]:
        return type(self), (self.settings, self.spec, self.isolated)

    def __call__(self, path: Path) -> Clip:
        """Read a file; the same as `read`."""
        return self.read(path)

    def read(self, path: Path) -> Clip:
        """Return the clip of a file, identical to `read_clip(path, spec)` (but for the codec jpeg).

        Raises:
            MediaError: the file cannot be read; from the cache it is the same sentence.
        """
        first, *sound = self.streams
        clip = first.read(path)
        return with_sound(clip, partial(sound[0].read, path)) if sound else clip

    def contains(self, path: Path) -> bool:
        """Return whether the clip, or the reason why there is none, is in the cache. Raises OSError."""
        first, *others = self.streams
        return first.contains(path) and (all(s.contains(path) for s in others) or first.reason(path) is not None)

    def store(self, path: Path) -> Stored:
        """Bring one file into the cache; `evqa.media.filling` does many.

        Raises:
            CacheError: the cache cannot be written, or is full.
        """
        first, *others = self.streams
        stored = first.store(path)
        for stream in () if stored.reason else others:
            more = stream.store(path)
            state = next(s for s in ("failed", "busy", "stored", "found") if s in (stored.state, more.state))
            reason = None if more.reason == STILL_WITHOUT_FRAMES else more.reason  # a still image has no sound
            stored = Stored(state, reason, stored.num_bytes + more.num_bytes)
        return stored

    def close(self) -> None:
        """Finish what this process has written and remove what dead ones left; reading and storing may go on."""
        for stream in self.streams:
            stream.close()


class CachedStream:
    """The pictures or the sound of files through the cache, or where there is none, both.

    Of motion streams nothing is in the cache. said: warnings that need not be said again. isolated: see `CachedReader`.
    """

    def __init__(self, settings: CacheSettings, spec: ClipSpec, said: set[str], *, isolated: bool) -> None:
        self.settings, self.spec, self.said, self.isolated = settings, spec, said, isolated
        self._stored_spec = replace(spec, motion=None)
        self._disk: Disk | None = None
        self._process = -1

    def read(self, path: Path) -> Clip:
        """Return the clip of a file, identical to `read_clip(path, spec)` (but for the codec jpeg).

        Raises:
            MediaError: the file cannot be read; from the cache it is the same sentence.
        """
        disk = self.disk
        content = self._decoded(path) if disk is None else self._through(disk, path)
        if isinstance(content, str):
            raise MediaError(path, content)
        return content

    def _through(self, disk: Disk, path: Path) -> Content:
        try:
            file = disk.hashes.of(path)
            content = disk.read(file)
            return self._decode(path, file, disk) if content is None else self._with_motion(path, content)
        except OSError:  # of the video, and then this says what is wrong; or of the cache, which must not stop anybody
            return self._decoded(path)

    def _decoded(self, path: Path) -> Content:
        if self.spec.motion is None:
            return self._decode_file(path, self.spec)
        return self._decode_file(path, self.spec, folder=self.settings.folder)

    def _decode_file(self, path: Path, spec: ClipSpec, **place: str | None) -> Content:
        return decode_isolated(path, spec, **place) if self.isolated else decode_here(path, spec, **place)

    def _with_motion(self, path: Path, content: Content) -> Content:
        """Decode the motion stream that a stored clip lacks; an image that was cut has none."""
        if self.spec.motion is None or isinstance(content, str) or content.image is not None:
            return content
        alone = replace(self.spec, frames=None, audio=None, image=None)
        motion = self._decode_file(path, alone, folder=self.settings.folder)
        if isinstance(motion, str):
            return motion
        return replace(content, motion=motion.motion, missing=tuple(dict.fromkeys((*content.missing, *motion.missing))))

    def contains(self, path: Path) -> bool:
        """Return whether the clip, or the reason why there is none, is in the cache. Raises OSError."""
        disk = self.disk
        return disk is not None and disk.shards.find(disk.hashes.of(path).key) is not None

    def reason(self, path: Path) -> str | None:
        """Return the sentence in the cache that says why the file gives no clip, if any. Raises OSError."""
        disk = self.disk
        return None if disk is None else disk.reason(disk.hashes.of(path))

    def store(self, path: Path) -> Stored:
        """Bring one file into the cache; `evqa.media.filling` does many.

        Raises:
            CacheError: the cache cannot be written, or is full.
        """
        disk = self.disk
        if disk is None:
            raise CacheError("cache: its folder is null, so there is nothing to fill; name a folder")
        try:
            file = disk.hashes.of(path)
        except OSError as error:
            return Stored("failed", f"cannot be opened ({error.strerror})")
        try:
            return self._store(path, file, disk)
        except MediaError as error:
            return Stored("failed", error.reason)
        except OSError as error:
            raise CacheError(disk.unwritable_sentence(error)) from error
        except CacheFullError:
            raise CacheError(disk.full_sentence()) from None

    def _store(self, path: Path, file: FileHash, disk: Disk) -> Stored:
        if disk.shards.find(file.key) is not None:
            return Stored("found", disk.reason(file))
        claim = disk.shards.claim(file.key)
        if claim is None:
            return Stored("busy")
        with claim:
            if disk.shards.find(file.key, fresh=True) is not None:
                return Stored("found", disk.reason(file))
            content = self._decode_file(path, self._stored_spec)
            reason = content if isinstance(content, str) else None
            return Stored("stored", reason, disk.add(path, file, content, claim))

    def record_bytes(self, path: Path) -> int:
        """Decode a file to see how many bytes its record would take. Stores nothing."""
        disk = self.disk
        assert disk is not None
        try:
            content = self._decode_file(path, self._stored_spec)
        except MediaError as error:
            content = error.reason
        return sum(piece.nbytes for piece in disk.encode(bytes(32), content))

    def _decode(self, path: Path, file: FileHash, disk: Disk) -> Content:
        """Decode a clip that the cache lacks, and store it where that is possible and nobody else is at it."""
        claim = None if self.settings.fill == "never" else disk.try_claim(file)
        if claim is None:
            return self._decoded(path)
        with claim:
            content = disk.read(file) if disk.shards.find(file.key, fresh=True) else None
            if content is None:
                content = self._decoded(path)
                if isinstance(content, Clip):
                    disk.try_add(path, file, replace(content, motion=None), claim)
                elif self.spec.motion is None:  # else the motion stream may be all that is wrong
                    disk.try_add(path, file, content, claim)
                return content
        return self._with_motion(path, content)

    def close(self) -> None:
        """Finish what this process has written and remove what dead ones left; reading and storing may go on."""
        if self.disk is not None:
            self.disk.shards.close()

    @property
    def disk(self) -> Disk | None:
        """What this process knows of the folder, None without one."""
        if self._process != os.getpid():  # a forked copy must not write to its parent's shard
            self._disk = None if self.settings.folder is None else Disk(self.settings, self._stored_spec, self.said)
            self._process = os.getpid()
        return self._disk
