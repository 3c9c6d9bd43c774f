"""Several uploaded files under the names that they had at the visitor's."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import ListFiles

from evqa.datasets.streaming import SUFFIXES
from evqa.errors import ConfigError
from evqa.files.names import is_text
from evqa.scoring.inputs import FoundInputs, survey
from evqa.scoring.sources import FileSource, InputSource, NamedColumns, TableSource
from evqa.web.asked import NO_FILE
from evqa.web.scorers import OfferedScorer

MAX_NAME_BYTES = 255


class Upload(NamedTuple):
    """A file. path: where the server keeps it, under a name without unusual letters. name: as its visitor calls it."""

    path: Path
    name: str


def field_of_uploads(**look: Any) -> gr.File:
    """Make a field of several files that gives a list of `Upload`. look: of `gr.File`."""
    field = gr.File(file_count="multiple", **look)
    check: Callable[[Any], Any] = field.preprocess

    def preprocess(payload: ListFiles | None) -> list[Upload]:
        check(payload)
        return list(map(upload_of, payload or ()))

    vars(field)["preprocess"] = preprocess  # of a class of our own Gradio would write a stub beside this module
    return field


def upload_of(content: gr.FileData | dict[str, Any]) -> Upload:
    """Read what a call says of a file, which Gradio leaves as it came. Raises ConfigError where it says nothing."""
    try:
        file = gr.FileData.model_validate(content)
    except ValueError:
        raise ConfigError(['file: upload it, and name it by an object {"path": "..."}.']) from None
    path = Path(file.path)
    return Upload(path=path, name=file.orig_name or path.name)


class UploadedBatch:
    """A folder in which a visitor's files, and no others, lie under their own names.

    Tables lie apart: their rows may name the other files.
    """

    def __init__(self, folder: Path, uploads: Sequence[Upload]) -> None:
        self._media, self._tables = folder / "media", folder / "tables"
        self._files, self._named_tables = list[str](), list[Path]()
        for place in (self._media, self._tables):
            place.mkdir()
        for upload in uploads:
            _check_name(upload.name)
            is_table = Path(upload.name).suffix.lower() in SUFFIXES
            place = (self._tables if is_table else self._media) / upload.name
            try:
                os.link(upload.path, place)  # stays when its visitor leaves meanwhile
            except FileExistsError as error:
                raise ConfigError([f"{upload.name}: two of the files have this name; rename one."]) from error
            if is_table:
                self._named_tables.append(place)
            else:
                self._files.append(upload.name)

    def find(self, offered: OfferedScorer) -> FoundInputs:
        """Find what is to be scored: the rows of the tables, or all files where there is no table.

        Raises:
            AnnotationError: a table cannot be used.
        """
        asked = NamedColumns(texts=offered.further_texts)
        sources: list[InputSource] = [
            TableSource(path, videos=self._media, asked=asked, own=offered.columns) for path in self._named_tables
        ]
        if not sources:
            named = [(str(self._media / name), name) for name in self._files]
            sources = [FileSource(named, reasons={}, title=None, description=None)]
        return survey(tuple(sources))

    def unused(self, found: FoundInputs) -> list[str]:
        """Files that no row names."""
        used = {Path(path).name for item in found for path in item.paths}
        return [name for name in self._files if name not in used]

    def said(self, sentence: str) -> str:
        """Write a sentence without places of the server."""
        for place in (f"the folder {self._media}", str(self._media)):
            sentence = sentence.replace(place, "the folder of your files")
        return sentence.replace(" (--videos)", "").replace(f"{self._tables}/", "")


@contextlib.contextmanager
def uploaded_batch(uploads: Sequence[Upload]) -> Iterator[UploadedBatch]:
    """Lay files out for the block.

    Raises:
        ConfigError: there are none, or their names cannot be used.
    """
    if not uploads:
        raise ConfigError([NO_FILE])
    root = uploads[0].path.parent.parent  # that of all uploads: a link cannot lead to another disk
    with tempfile.TemporaryDirectory(dir=root, prefix="batch-") as folder:
        yield UploadedBatch(Path(folder), uploads)


def _check_name(name: str) -> None:
    """Refuse a name that is none: it comes from the visitor, and not only from browsers."""
    is_one = name not in ("", ".", "..") and not set("/\\\0") & set(name)
    if not (is_one and is_text(name) and len(name.encode()) <= MAX_NAME_BYTES):
        raise ConfigError([f"{name[:100]!r} is no name of a file."])
