"""Find the media file of an id without ever leaving the data folder."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from evqa.errors import AnnotationError, MediaError

VIDEO = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".ogv")
AUDIO = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus")
EXTENSIONS = VIDEO + AUDIO
_ORDER = {extension: order for order, extension in enumerate(EXTENSIONS)}
_Listing = Mapping[str, Sequence[tuple[tuple[int, str], os.DirEntry[str]]]]


class MediaFolder:
    """A folder of media files; every sub-folder is listed once, so that a hundred thousand look-ups are cheap.

    follow_links: accept links that lead out of the folder (for folders of links that the user made on purpose).
    """

    def __init__(self, root: Path, *, follow_links: bool = False) -> None:
        if not root.is_dir():
            raise AnnotationError(f"{root}: no such folder of media files.")
        self.root, self.follow_links = root, follow_links
        self._real = os.path.realpath(root)
        self._listings: dict[str, _Listing] = {}

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
            for _, entry in self._list(parent).get(unicodedata.normalize("NFC", stem), ()):
                if entry.is_file():
                    return self._checked(entry)
        except OSError as error:
            raise MediaError(name, f"cannot be looked up in {self.root} ({error.strerror})") from error
        file = stem if stem.lower().endswith(EXTENSIONS) else f"{stem}.mp4"
        raise MediaError(name, f"no video {file} in {self.root / parent} (nor with another extension)")

    def _below(self, name: str) -> str:
        if not os.path.isabs(name):  # noqa: PTH117 (asked for every row)
            return name
        for root in (self.root.absolute(), Path(self._real)):
            if Path(name).is_relative_to(root):
                return Path(name).relative_to(root).as_posix()
        return name

    def _list(self, parent: str) -> _Listing:
        if parent not in self._listings:
            folder = os.path.join(self.root, parent)  # noqa: PTH118 (pathlib refuses over-long names with an error)
            is_inside = os.path.isdir(folder) and self._holds(folder)  # noqa: PTH112
            self._listings[parent] = _list_folder(folder) if is_inside else {}
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


def _list_folder(folder: str) -> _Listing:
    """Files by every name that may be asked for, each with the order in which it is preferred.

    Names are composed (NFC): macOS stores decomposed ones, while a table usually holds composed ones.
    """
    listing = defaultdict[str, list[tuple[tuple[int, str], os.DirEntry[str]]]](list)
    with os.scandir(folder) as entries:
        for entry in entries:
            name = unicodedata.normalize("NFC", entry.name)
            stem, dot, extension = name.rpartition(".")
            order = _ORDER.get((dot + extension).lower())
            listing[name].append(((-1 if order is not None else len(_ORDER), name), entry))
            if order is not None:
                listing[stem].append(((order, name), entry))
    for found in listing.values():
        found.sort(key=lambda item: item[0])
    return listing
