"""Find the media file of an id without ever leaving the data folder."""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evqa.errors import AnnotationError, MediaError
from evqa.files.names import from_system
from evqa.media.suffixes import MEDIA

STEM = "{stem}"  # in a pattern: the name without the extension of a media file
_ORDER = {extension: order for order, extension in enumerate(MEDIA)}


@dataclass(frozen=True)
class _Listing:
    """What lies in one folder, in little memory: a folder may hold a million files.

    names: the entries (a single one is not in a list) by stem where the extension is a known one, else by the whole
    name; keys are composed (NFC): macOS stores decomposed names, while a table usually holds composed ones. others:
    entries that are no ordinary files (folders, links, pipes).
    """

    names: Mapping[str, str | list[str]]
    others: frozenset[str]

    def find(self, name: str) -> list[str]:
        """Entries that a name may mean, the likeliest first; of composed and decomposed ones, the very same first."""
        composed = _composed(name)
        stem, extension = _split(composed)
        found = [(_ORDER.get(_split(_composed(entry))[1], len(_ORDER)), entry) for entry in self._at(composed)]
        if extension:
            found += [(-1, entry) for entry in self._at(stem) if _composed(entry) == composed]
        if len(found) > 1:
            found.sort()
            found.sort(key=lambda item: not from_system(item[1]).startswith(name))
        return [entry for _, entry in found]

    def _at(self, key: str) -> Sequence[str]:
        found = self.names.get(key, ())
        return (found,) if isinstance(found, str) else found


class MediaFolder:
    """A folder of media files; every sub-folder is listed once, so that a hundred thousand look-ups are cheap.

    follow_links: accept links that lead out of the folder (for folders of links that the user made on purpose).
    on_link: what to do about such a link, for the sentence that refuses it.
    check_sizes: refuse empty files, which costs a question to the disk each; without, the listing alone answers.
    pattern: where below the folder the file of a name lies, see `STEM`; null: at the name itself.
    """

    def __init__(
        self,
        root: Path,
        *,
        follow_links: bool = False,
        on_link: str = "set data.follow_links=true if that is meant",
        check_sizes: bool = True,
        pattern: str | None = None,
    ) -> None:
        if not root.is_dir():
            raise AnnotationError(f"{root}: no such folder of media files.")
        self.root, self.follow_links, self.check_sizes, self.pattern = root, follow_links, check_sizes, pattern
        self.on_link = on_link
        self._root, self._real = str(root), os.path.realpath(root)
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
        if self.pattern is not None and name.strip():
            name = self.pattern.replace(STEM, _split(name)[0])
        path, fault = self.look_up(name)
        if path is None:
            raise MediaError(name, fault)
        return path

    def look_up(self, name: str) -> tuple[Path | None, str]:
        """As `find`, for tables of a million names: return the file, or None and the reason."""
        try:
            parent, _, stem = self._below(name).rpartition("/")
            for folder in self._folders(parent):
                listing = self._listing(folder)
                for entry in listing.find(stem):
                    if entry not in listing.others or _is_file(f"{folder}/{entry}"):
                        return self._checked(folder, entry, is_link=entry in listing.others), ""
        except OSError as error:
            return None, f"cannot be looked up in {self.root} ({error.strerror})"
        except MediaError as error:
            return None, error.reason
        file = stem if _split(stem)[1] else f"{stem}.mp4"
        return None, f"no video {file} in {self._shown(parent)} (nor with another extension)"

    def _below(self, name: str) -> str:
        """Return the name relative to the folder, without `.` and harmless `..`: `./a` and `b/../a` are `a`."""
        if name[:1].isalnum() and "/" not in name:
            return name  # nearly all of them
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
            found = [self._root]
            for part in name.split("/") if name else ():
                paths = [f"{folder}/{entry}" for folder in found for entry in self._listing(folder).find(part)]
                found = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112 (never raises)
            self._places[name] = found
        return self._places[name]

    def _listing(self, folder: str) -> _Listing:
        if folder not in self._listings:
            self._listings[folder] = _list_folder(folder) if self._holds(folder) else _Listing({}, frozenset())
        return self._listings[folder]

    def _shown(self, parent: str) -> str:
        return str(self.root / parent) if parent else self._root

    def _checked(self, folder: str, entry: str, *, is_link: bool) -> Path:
        path = Path(folder, entry)
        if is_link and not self._holds(str(path)):
            raise MediaError(path, f"{entry} is a link that leads out of {self.root}; {self.on_link}")
        if self.check_sizes and path.stat().st_size == 0:
            raise MediaError(path, f"{entry} is empty (0 bytes)")
        return path

    def _holds(self, path: str) -> bool:
        return self.follow_links or Path(os.path.realpath(path)).is_relative_to(self._real)


def _list_folder(folder: str) -> _Listing:
    names, others = dict[str, str | list[str]](), set[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            composed = _composed(entry.name)
            stem, extension = _split(composed)
            key = stem if extension else composed
            before = names.get(key)
            if before is None:
                names[key] = entry.name
            elif isinstance(before, str):
                names[key] = [before, entry.name]
            else:
                before.append(entry.name)
            if not entry.is_file(follow_symlinks=False):
                others.add(entry.name)
    return _Listing(names, frozenset(others))


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", from_system(name))


def _split(name: str) -> tuple[str, str]:
    """Divide into stem and known extension, which is lower-case; empty where there is none."""
    stem, dot, extension = name.rpartition(".")
    known = f"{dot}{extension.lower()}"
    return (stem, known) if known in _ORDER else (name, "")


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except FileNotFoundError:
        return False
