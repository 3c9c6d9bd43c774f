"""What one process knows of the cache's folder, and what it may write there."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from evqa.media.clip import ClipSpec
from evqa.media.store.claims import Claim
from evqa.media.store.hashes import ContentHashes, FileHash
from evqa.media.store.naming import describe, folder_name
from evqa.media.store.record import Content, encode
from evqa.media.store.room import Room
from evqa.media.store.settings import CacheSettings
from evqa.media.store.shards import CacheFullError, Shards

log = logging.getLogger(__name__)

GIGA = 10**9
DECODED_ANYWAY = "clips that are not in it are decoded each time"


class Disk:
    """What one process knows of the cache's folder, and may write there. said: warnings that need not be said again."""

    def __init__(self, settings: CacheSettings, spec: ClipSpec, said: set[str]) -> None:
        assert settings.folder is not None
        self.said = said
        self.settings, self.root = settings, Path(settings.folder)
        self.hashes = ContentHashes(self.root, remember=settings.fill == "auto")
        limit = settings.max_gigabytes * GIGA
        codec = "raw" if settings.codec == "raw" else f"jpeg {settings.jpeg_quality}"
        about = describe(spec, codec=codec)
        self.shards = Shards(
            self.root / folder_name(about),
            Room(self.root, limit_bytes=limit),
            about=about,
            shard_bytes=min(settings.shard_megabytes * 1e6, limit / 8),
            patience_seconds=60 + 4 * spec.limits.timeout_seconds,
        )
        self.is_closed = False  # to writing, after the first attempt that failed

    def read(self, file: FileHash) -> Content | None:
        """Return what is stored, None where nothing is."""
        return self.shards.read(file.key, always_check=self.settings.verify == "always")

    def is_known(self, path: Path) -> bool:
        """Return whether a file is in the cache, as far as can be said without reading the file."""
        try:
            file = self.hashes.known(path)
        except OSError:
            return False
        return file is not None and self.shards.find(file.key) is not None

    def free_bytes(self) -> int:
        """Return what the disk has left."""
        existing = next(folder for folder in (self.root, *self.root.absolute().parents) if folder.exists())
        return shutil.disk_usage(existing).free

    def reason(self, file: FileHash) -> str | None:
        """Return the stored reason of a failure, None for a clip."""
        content = self.read(file) if self.shards.may_be_reason(file.key) else None
        return content if isinstance(content, str) else None

    def add(self, path: Path, file: FileHash, content: Content, claim: Claim) -> int:
        """Store what was decoded and return its bytes. Raises OSError or CacheFullError."""
        if not file.is_current(path) or not claim.is_held():
            return 0  # the file changed under our hands, or we were so slow that another took over
        return self.shards.add(file.key, self.encode(file.key, content))

    def encode(self, key: bytes, content: Content) -> list[memoryview]:
        """Return the record as these settings store it."""
        quality = self.settings.jpeg_quality if self.settings.codec == "jpeg" else None
        return encode(key, content, jpeg_quality=quality)

    def try_claim(self, file: FileHash) -> Claim | None:
        """Claim a clip to store it, None where another does or nothing can be written."""
        if self.is_closed:
            return None
        try:
            return self.shards.claim(file.key)
        except OSError as error:
            self._close(self.unwritable_sentence(error))
            return None

    def try_add(self, path: Path, file: FileHash, content: Content, claim: Claim) -> None:
        """Store what was decoded where that is possible; say once where it is not."""
        try:
            self.add(path, file, content, claim)
        except OSError as error:
            self._close(self.unwritable_sentence(error))
        except CacheFullError:
            self._close(self.full_sentence())

    def full_sentence(self) -> str:
        """Say that the limit is reached, and what to do."""
        return (
            f"cache: {self.root} is full: max_gigabytes is {self.settings.max_gigabytes:g} and everything in it is in "
            f"use; {DECODED_ANYWAY}; raise max_gigabytes, or use codec=jpeg or fewer or smaller frames"
        )

    def unwritable_sentence(self, error: OSError) -> str:
        """Say that nothing can be stored, and why."""
        return f"cache: {self.root} cannot be written ({error.strerror}); {DECODED_ANYWAY}"

    def _close(self, sentence: str) -> None:
        if sentence not in self.said:
            log.warning(sentence)
        self.said.add(sentence)
        self.is_closed = True
