"""What a run was made of beside its settings: the content of its data set, and the software.

A path in a configuration does not say what lies there: an edited table under the same name is another training. Data
may move to another folder: places are not compared.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evqa.datasets.splits import Records
from evqa.errors import RunError
from evqa.files.plain import write_json
from evqa.machine.software import software
from evqa.training.folder import RunFolder
from evqa.types import Record

FILE = "origin.json"  # in the run's folder; the same is in every checkpoint
ORDER = "order of rows"
UNKNOWN = "was made before evqa recorded what its data held: nobody can tell whether that has changed since"
Split = dict[str, Any]  # n, and a digest of each aspect
Origin = dict[str, Any]  # data: {split: Split}; readable: {split: Split of what could be opened}; software


def origin_of(given: Mapping[str, Records], readable: Mapping[str, Records]) -> Origin:
    """Describe the data (as the tables give it, and what of it can be read) and the software of this process."""
    return {
        "data": {name: digest(records) for name, records in given.items()},
        "readable": {name: _of_column("ids", sorted(r.id for r in records)) for name, records in readable.items()},
        "software": software(),
    }


def digest(records: Records) -> Split:
    """Digest every aspect of a split, by id; the order of the rows is one of its own."""
    ordered = sorted(records, key=lambda record: record.id)
    return {
        **_of_column("ids", [record.id for record in ordered]),
        **_of_column("labels", [repr(record.label) for record in ordered]),
        **_of_column("texts", map(_words, ordered)),
        **_of_column("groups", _partition(ordered)),
        **_of_column("file sizes", [_size(path) for record in ordered for path in record.paths]),
        **_of_column(ORDER, [record.id for record in records]),
    }


def _of_column(name: str, values: Iterable[Any]) -> Split:
    """Hash a list as JSON, value by value: the words of a data set may be most of what it holds in memory."""
    count, hashed = 0, hashlib.sha256(b"[")
    for value in values:
        hashed.update(f"{', ' if count else ''}{json.dumps(value)}".encode())
        count += 1
    hashed.update(b"]")
    return {"n": count, name: hashed.hexdigest()}


def _words(record: Record) -> list[Any]:
    """List all that a model may read of a record: title and description, further texts by name, given turns."""
    further = sorted((name, text) for name, text in record.texts.items() if name not in ("title", "description"))
    turns = [[turn.role, turn.text, turn.learn] for turn in record.turns]
    return [record.texts.get("title"), record.texts.get("description"), *further, *turns]


def _partition(records: Iterable[Record]) -> list[str | None]:
    """Name each group by its first id: its own name may be a path, and data may move."""
    first: dict[str, str] = {}
    return [record.group and first.setdefault(record.group, record.id) for record in records]


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (a hundred thousand times)
    except OSError:
        return -1


def changes(there: Mapping[str, Split], here: Mapping[str, Split]) -> list[str]:
    """Say what differs between two descriptions of data; of rows that were added or removed, only their number."""
    found = []
    for name in sorted({*there, *here}):
        old, new = {"n": 0} | there.get(name, {}), {"n": 0} | here.get(name, {})
        if old.get("ids") != new.get("ids"):
            numbers = f"{old['n']} then, {new['n']} now" if old["n"] != new["n"] else f"{new['n']}, but other ones"
            found.append(f"the items of {name} ({numbers})")
        else:
            changed = [aspect for aspect in new if new[aspect] != old.get(aspect)]
            found += [f"the {aspect} of {name}" for aspect in changed]
    return found


def software_changes(there: Mapping[str, str | None], here: Mapping[str, str | None]) -> list[str]:
    """Say which versions differ."""
    return [f"{name} {there.get(name)} then, {here.get(name)} now" for name in here if there.get(name) != here[name]]


def read_origin(folder: RunFolder) -> Origin | None:
    """Read what a run recorded; None where it recorded nothing that can be read."""
    try:
        return _whole(json.loads((folder.path / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _whole(origin: Any) -> Origin | None:
    """Return what was recorded; None for what is no record (the file or checkpoint may be of anybody)."""
    parts = [origin.get(part) for part in ("data", "readable", "software")] if isinstance(origin, dict) else [None]
    splits = [split for part in parts[:2] if isinstance(part, dict) for split in part.values()]
    whole = all(isinstance(part, dict) for part in parts) and all(isinstance(split, dict) for split in splits)
    return origin if whole else None


def write_origin(folder: RunFolder, origin: Origin) -> None:
    """Record what a run is made of."""
    write_json(folder.path / FILE, origin)


def check_finished(folder: RunFolder, here: Mapping[str, Split]) -> Iterable[str]:
    """Compare a finished run with the data and software of now; yields sentences worth telling.

    Raises:
        RunError: its results are those of other data.
    """
    there = read_origin(folder)
    if there is None:
        yield f"{folder.path} {UNKNOWN}."
        return
    if changed := changes(there["data"], here):
        raise RunError(
            f"{folder.path} is finished, but with other data; what has changed since: {'; '.join(changed)}. Its "
            "results are those of the old data. Choose another run.name for the new data (or remove the folder), or "
            "restore the old."
        )
    yield from said_software(folder.path, there["software"])


def check_checkpoint(file: Path, metadata: Mapping[str, Any], here: Origin) -> Iterable[str]:
    """Compare a checkpoint that shall be continued with this run; yields sentences worth telling.

    Raises:
        RunError: it was trained on other data.
    """
    there = _whole(metadata.get("origin"))
    if there is None:
        yield f"{file} {UNKNOWN}."
        return
    changed = changes(there["data"], here["data"]) or [
        f"{part} that can be read" for part in changes(there["readable"], here["readable"])
    ]
    if changed:
        raise RunError(
            f"{file} was trained with other data; what has changed since: {'; '.join(changed)}. To continue would mix "
            "both. Choose another run.name for the new data (or remove the folder), or restore the old."
        )
    yield from said_software(file, there["software"])


def said_software(what: Path, there: Mapping[str, str | None]) -> Iterable[str]:
    """Yield the sentence that the software has changed, where it has."""
    if changed := software_changes(there, software()):
        yield f"{what} was made with other software ({'; '.join(changed)}): results may differ a little."


def about_split(metadata: Mapping[str, Any], name: str, records: Records) -> dict[str, Any]:
    """State for an evaluation's record what a split holds, and what of it is not as in training.

    data_changed: sentences; null where the run recorded nothing to compare with.
    """
    here, origin = digest(records), _whole(metadata.get("origin"))
    if origin is None or name not in origin["data"]:
        return {"data": here, "data_changed": None}
    there = origin["data"][name] | {ORDER: here[ORDER]}  # scores do not depend on it
    return {"data": here, "data_changed": changes({name: there}, {name: here})}


def notes_on(file: Path, metadata: Mapping[str, Any], about: Mapping[str, Any]) -> Iterable[str]:
    """Yield what a person should know of an evaluation. about: of `about_split`."""
    origin = _whole(metadata.get("origin"))
    if origin is None:
        yield f"{file} {UNKNOWN}."
        return
    if about["data_changed"]:
        yield f"The data is not that of the training ({'; '.join(about['data_changed'])}); scored is what there is now."
    yield from said_software(file, origin["software"])
