"""What a visitor asks for, checked as the command line checks it."""

from __future__ import annotations

from pathlib import Path

from evqa.errors import ConfigError, EvqaError, FileError, MediaError
from evqa.files.names import is_text
from evqa.files.refusals import as_users_error
from evqa.types import Record

NO_FILE = "Choose a file first."
NO_TEXT = "The text holds characters that are none."
REFUSALS = (EvqaError, OSError)  # what `sentences_of` has words for


def as_record(path: str | None, *, title: str = "", description: str = "") -> Record:
    """Make an item of an uploaded file; its name is the id.

    Raises:
        ConfigError: there is no file, or the texts are none.
    """
    if not path:
        raise ConfigError([NO_FILE])
    texts = {name: text for name, text in (("title", title), ("description", description)) if text.strip()}
    if not all(map(is_text, texts.values())):
        raise ConfigError([NO_TEXT])
    return Record(id=Path(path).name, paths=(Path(path),), texts=texts)


def sentences_of(error: EvqaError | OSError) -> list[str]:
    """Return what went wrong as sentences; a fault of the program is let out."""
    known = as_users_error(error)
    if known is None:
        raise error
    if isinstance(known, ConfigError):
        return known.problems
    if isinstance(known, FileError | MediaError):
        return [f"{known.path.name}: {known.reason}"]
    return [str(known)]
