"""Find the media file of an id without ever leaving the data folder."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from evqa.errors import AnnotationError, MediaError
from evqa.files.names import from_system
from evqa.media.suffixes import MEDIA

_ORDER = {extension: order for order, extension in enumerate(MEDIA)}
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
        self._places: dict[str, list[str]] = {}

    def find(self, name: str) -> Path:
        """Return the file `<name>.mp4`, else `<name>` with another known extension, else `<name>` itself.

        A name that already ends in a known extension is tried as it is first. An absolute name must lie below the
        folder.

        Raises:
            MediaError: with a reason that names the rule: the name leaves the folder, there is no such file, or the
                file is empty.
        """
        parent, _, stem = self._below(name).rpartition("/")
        try:
            for folder in self._folders(parent):
                for entry in self._named(folder, stem):
                    if entry.is_file():
                        return self._checked(entry)
        except OSError as error:
            raise MediaError(name, f"cannot be looked up in {self.root} ({error.strerror})") from error
        file = stem if stem.lower().endswith(MEDIA) else f"{stem}.mp4"
        raise MediaError(name, f"no video {file} in {self.root / parent} (nor with another extension)")

    def _below(self, name: str) -> str:
        """Return the name relative to the folder, without `.` and harmless `..`: `./a` and `b/../a` are `a`."""
        below = name
        for root in (self.root.absolute(), Path(self._real)) if name.startswith("/") else ():
            if Path(name).is_relative_to(root):
                below = Path(name).relative_to(root).as_posix()
        if not below.strip():
            raise MediaError(name, "names no file: the name is empty")
        plain = posixpath.normpath(below)
        if plain.startswith("/") or plain.replace("\\", "/").split("/")[0] == "..":
            raise MediaError(name, f"{name!r} would leave the folder {self.root}; name a file below it")
        if plain == "." or below.endswith("/"):
            raise MediaError(name, f"{name!r} names a folder, not a file")
        return plain

    def _folders(self, name: str) -> list[str]:
        """Sub-folders of that name, looked for component by component."""
        if name not in self._places:
            found = [str(self.root)]
            for part in name.split("/") if name else ():
                entries = [entry for folder in found for entry in self._named(folder, part)]
                found = [entry.path for entry in entries if entry.is_dir()]
            self._places[name] = found
        return self._places[name]

    def _named(self, folder: str, name: str) -> list[os.DirEntry[str]]:
        """Entries that a name may mean: composed and decomposed letters are alike, but the very same come first."""
        if folder not in self._listings:
            self._listings[folder] = _list_folder(folder) if self._holds(folder) else {}
        found = [entry for _, entry in self._listings[folder].get(unicodedata.normalize("NFC", name), ())]
        return sorted(found, key=lambda entry: not from_system(entry.name).startswith(name))

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
    """Entries by every name that may be asked for, each with the order in which it is preferred.

    Names are composed (NFC): macOS stores decomposed ones, while a table usually holds composed ones.
    """
    listing = defaultdict[str, list[tuple[tuple[int, str], os.DirEntry[str]]]](list)
    with os.scandir(folder) as entries:
        for entry in entries:
            name = unicodedata.normalize("NFC", from_system(entry.name))
            stem, dot, extension = name.rpartition(".")
            order = _ORDER.get((dot + extension).lower())
            listing[name].append(((-1 if order is not None else len(_ORDER), entry.name), entry))
            if order is not None:
                listing[stem].append(((order, entry.name), entry))
    for found in listing.values():
        found.sort(key=lambda item: item[0])
    return listing
