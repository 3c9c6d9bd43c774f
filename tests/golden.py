"""Where reference numbers lie, and how they are read: counts, sizes and names differ from set to set."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parent
MARKS = {"lmm_evqa": "model/state_dict_keys.json", "vqa2": "tables.json"}  # a file that the set must have


def place(variable: str, default: str) -> Path:
    """A folder that an environment variable names, or else lies beside the checkout."""
    return Path(os.environ.get(variable) or TESTS.parent / default)


def find(system: str = "lmm_evqa") -> Path | None:
    """A published system's numbers: in or beside EVQA_GOLDEN, else the shared set, else the small copy here."""
    for home in (place("EVQA_GOLDEN", "../shared/golden"), TESTS.parent / "../shared/golden", TESTS / "golden_small"):
        for folder in (home / system, home, home.parent / system):
            if (folder / MARKS[system]).is_file():
                return folder
    return None


def media() -> Path:
    """Real and broken sample videos; may be missing."""
    return place("EVQA_MEDIA", "../shared/media")


def frame_checksums(video: Mapping[str, Any], policy: str) -> dict[int, list[str]]:
    """SHA-256 of the frames that a policy takes, by how many were asked for: `frames_<policy>_<count>`."""
    found = {re.fullmatch(rf"frames_{policy}_(\d+)", key): value for key, value in video.items()}
    return {int(match[1]): value["sha256_rgb_uint8_hwc"] for match, value in found.items() if match}


def small_pixels(path: Path, letter_box: str) -> tuple[np.ndarray, int, int] | None:
    """Whole preprocessed frames (F,3,S,S), how many were asked for, and S; None where a file has no such array.

    letter_box: "none" for squashed frames, "pad" for letter-boxed ones. Real videos have samples of the frames only.
    """
    with np.load(path) as stored:
        for key in stored.files:
            match = re.fullmatch(rf"pixel_values_{letter_box}_small_uniform_(\d+)", key)
            if match and len(stored[key]) == int(match[1]):
                return stored[key], int(match[1]), stored[key].shape[-1]
    return None


def thinned(stored: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, int]:
    """An array of which every so-manieth row may have been kept, `<name>[_every_<n>th_row]...`, and that n.

    Raises KeyError where there is none.
    """
    for key in stored:
        if match := re.fullmatch(rf"{name}(?:_every_(\d+)(?:st|nd|rd|th)(?:_row)?\w*)?", key):
            return stored[key], int(match[1] or 1)
    raise KeyError(name)
