"""Find the media file of an id without ever leaving the data folder."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from evqa.errors import AnnotationError, MediaError

VIDEO = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".ogv")
AUDIO = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus")
EXTENSIONS = VIDEO + AUDIO


class MediaFolder:
    """A folder of media files; every sub-folder is listed once, so that a hundred thousand look-ups are cheap.

    follow_links: accept links that lead out of the folder (for folders of links that the user made on purpose).
    """

    def __init__(self, root: Path, *, follow_links: bool = False) -> None:
        if not root.is_dir():
            raise AnnotationError(f"{root}: no such folder of media files.")
        self.root, self.follow_links = root, follow_links
        self._real = os.path.realpath(root)
        self._listings: dict[str, dict[str, os.DirEntry[str]]] = {}

    def find(self, name: str) -> Path:
        """Return the file `<name>.mp4`, else `<name>` with another known extension, else `<name>` itself.

        A name that already ends in a known extension is tried as it is first. An absolute name must lie below the
        folder.

        Raises:
            MediaError: with a reason that names the rule: the name leaves the folder, there is no such file, or the
                file is empty.
        """
        below = self._below(name)
        if any(part in ("", ".", "..") for part in below.replace("\\", "/").split("/")):
            raise MediaError(name, f"{name!r} would leave the folder {self.root}; name a file below it")
        parent, _, stem = below.rpartition("/")
        try:
            listing = self._list(parent)
            for candidate in _candidates(stem):
                entry = listing.get(candidate) or listing.get(unicodedata.normalize("NFC", candidate))
                if entry is not None and entry.is_file():
                    return self._checked(entry)
        except OSError as error:
            raise MediaError(name, f"cannot be looked up in {self.root} ({error.strerror})") from error
        raise MediaError(name, f"no video {_candidates(stem)[0]} in {self.root / parent} (nor with another extension)")

    def _below(self, name: str) -> str:
        if not Path(name).is_absolute():
            return name
        for root in (self.root.absolute(), Path(self._real)):
            if Path(name).is_relative_to(root):
                return Path(name).relative_to(root).as_posix()
        return name

    def _list(self, parent: str) -> dict[str, os.DirEntry[str]]:
        if parent not in self._listings:
            folder = os.path.join(self.root, parent)  # noqa: PTH118 (pathlib refuses over-long names with an error)
            listing: dict[str, os.DirEntry[str]] = {}
            if os.path.isdir(folder) and self._holds(folder):  # noqa: PTH112
                with os.scandir(folder) as entries:
                    listing = {entry.name: entry for entry in entries}
                # macOS stores decomposed names; a table usually holds composed ones.
                listing = {unicodedata.normalize("NFC", name): entry for name, entry in listing.items()} | listing
            self._listings[parent] = listing
        return self._listings[parent]

    def _checked(self, entry: os.DirEntry[str]) -> Path:
        if entry.is_symlink() and not self._holds(entry.path):
            mend = "set data.follow_links=true if that is meant"
            raise MediaError(entry.path, f"{entry.name} is a link that leads out of {self.root}; {mend}")
        if entry.stat().st_size == 0:
            raise MediaError(entry.path, f"{entry.name} is empty (0 bytes)")
        return Path(entry.path)

    def _holds(self, path: str) -> bool:
        return self.follow_links or Path(os.path.realpath(path)).is_relative_to(self._real)


def _candidates(stem: str) -> tuple[str, ...]:
    names = tuple(stem + extension for extension in (*EXTENSIONS, *map(str.upper, EXTENSIONS)))
    return (stem, *names) if stem.lower().endswith(EXTENSIONS) else (*names, stem)
