"""What is shown of items beside their numbers: title, a link to the video, a thumbnail."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from evqa.errors import MediaError
from evqa.files.names import from_system, shown
from evqa.files.progress import BEGINS_ANEW, counted
from evqa.files.whole import write_whole
from evqa.machine.fork_server import StartError
from evqa.media.limits import Limits
from evqa.media.thumbnails import jpeg_thumbnail
from evqa.types import Failure, Record

WIDTH, MAX_HEIGHT = 160, 320  # pixels
TITLE_CHARS = 80
LIMITS = Limits(timeout_seconds=5.0)  # a file
FOLDER = "thumbnails"  # beside report.md


@dataclass(frozen=True, kw_only=True)
class ItemMedia:
    """By id: titles, at most TITLE_CHARS long; links, relative to the report; thumbnails, JPEG.

    notes: sentences about what could not be shown.
    """

    titles: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def file(self, id_: str) -> str:
        """Where an item's thumbnail lies, below the report's folder."""
        return f"{FOLDER}/{list(self.thumbnails).index(id_) + 1:02d}.jpg"


def item_media(
    records: Mapping[str, Record], rejects: Mapping[str, Failure], *, pictured: Collection[str], folder: Path
) -> ItemMedia:
    """Gather what is shown of the items; those of `pictured` get thumbnails, which takes a moment each.

    Of an item with several files it is the first one. folder: of the report.
    """
    files = {id_: record.paths[0] for id_, record in records.items() if record.paths}
    thumbnails, reasons = dict[str, bytes](), dict[str, str]()
    with counted("making thumbnails", len(pictured), stderr=True, then=BEGINS_ANEW) as counting:
        for id_ in counting.watch(pictured):
            try:
                thumbnails[id_] = jpeg_thumbnail(
                    _file_of(id_, files, rejects), LIMITS, width=WIDTH, max_height=MAX_HEIGHT
                )
            except (MediaError, StartError) as error:
                reasons[id_] = error.reason if isinstance(error, MediaError) else str(error)
    titles = {id_: shortened(title) for id_, record in records.items() if (title := record.texts.get("title", ""))}
    return ItemMedia(
        titles=titles,
        links={id_: file_link(path, folder) for id_, path in files.items() if path.is_file()},
        thumbnails=thumbnails,
        notes=_without(reasons, total=len(pictured)),
    )


def write_thumbnails(media: ItemMedia, folder: Path) -> None:
    """Write the thumbnails as files, for Markdown."""
    if media.thumbnails:
        (folder / FOLDER).mkdir(exist_ok=True)
    for id_, jpeg in media.thumbnails.items():
        write_whole(folder / media.file(id_), jpeg)


def _file_of(id_: str, files: Mapping[str, Path], rejects: Mapping[str, Failure]) -> Path:
    if id_ in files:
        return files[id_]
    raise MediaError(id_, rejects[id_].reason if id_ in rejects else "the run's tables do not name it")


def shortened(title: str) -> str:
    """A title in one line, cut with an ellipsis."""
    title = " ".join(title.split())
    return title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1].rstrip()}…"


def file_link(path: Path, folder: Path) -> str:
    """A link from a page in a folder to a file: a relative path, percent-encoded, colons too, so it has no scheme."""
    return quote(os.fsencode(os.path.relpath(path.absolute(), folder.absolute())))


def _without(reasons: Mapping[str, str], *, total: int) -> tuple[str, ...]:
    """How many items have no thumbnail, and why: each kind of reason with its number and first item."""
    if not reasons:
        return ()
    kinds = {id_: Failure(id=id_, reason=reason).kind for id_, reason in reasons.items()}
    first = {kind: id_ for id_, kind in reversed(kinds.items())}
    counts = Counter(kinds.values())
    said = [
        f"{_short(reasons[first[kind]])} ({count} item{'s' * (count > 1)}, the first: {shown(first[kind])})"
        for kind, count in counts.most_common()
    ]
    return (f"{len(reasons)} of {total} items have no thumbnail: {'; '.join(said)}.",)


def _short(reason: str) -> str:
    return shown(from_system(reason).partition(";")[0].rstrip("."))
