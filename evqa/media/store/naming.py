"""The name of a folder of clips: everything that changes a pixel or a sample."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from typing import Any

from evqa.media.clip import ClipSpec, described

READER_VERSION = 5  # raise it with every change in evqa.media that changes what a record holds


def describe(spec: ClipSpec, *, codec: str) -> str:
    """Return canonical JSON of the specification, the codec, and the versions of the reader and its decoder."""
    decoder = {"packets": "av", "decord": "decord"}[spec.reader]
    everything = {
        "spec": _plain(described(spec)),
        "codec": codec,
        "reader": READER_VERSION,
        "decoder": [decoder, importlib.metadata.version(decoder).split(".")[0]],
    }
    return json.dumps(everything, sort_keys=True, indent=1)


def folder_name(description: str) -> str:
    """Return a short name that differs where the description differs."""
    return hashlib.sha256(description.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Make equal specifications equal text: 8 and 8.0 are the same number."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
