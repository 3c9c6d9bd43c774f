"""Mutated files give a clip or a sentence: no other error, no hang, no death of the process that reads them.

EVQA_FUZZ sets how many files are made; 60 in ordinary runs, 1,500 before a release.
"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from evqa.machine.isolated import map_isolated
from evqa.media.audio import AudioWindow
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.probe import probe
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling

NUM_FILES = int(os.environ.get("EVQA_FUZZ", "60"))
SECONDS = 20.0
MOST_BYTES = 1 << 20  # a larger original would only make the test slow
SENTENCE = re.compile(r"(is|has|cannot|could|took) [^\[\]]+")
SPEC = ClipSpec(
    frames=FrameStream(sampling=FrameSampling(policy="uniform"), resize=Resize(size=32)),
    audio=AudioWindow(policy="whole"),
)


def read(path: Path) -> tuple[int, tuple[str, ...]]:
    """What one mutated file gives: the number of frames and what is missing; importable by a process of its own."""
    probe(path)
    clip = read_clip(path, SPEC)
    assert clip.frames_FHWC is not None
    return len(clip.frames_FHWC), clip.missing


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Flip bytes anywhere or in the header, cut, repeat, exchange or zero a part."""
    changed = bytearray(data)
    start = draw.randrange(len(data))
    length = draw.randint(1, max(1, len(data) // 8))
    kind = draw.choice(["flips", "header", "cut", "lost", "twice", "zeros", "number"])
    if kind in ("flips", "header"):
        reach = len(data) if kind == "flips" else min(len(data), 2048)
        for _ in range(draw.choice([1, 4, 32])):
            changed[draw.randrange(reach)] = draw.randrange(256)
    elif kind == "cut":
        del changed[start:]
    elif kind == "lost":
        del changed[start : start + length]
    elif kind == "twice":
        changed[start:start] = data[start : start + length]
    elif kind == "zeros":
        changed[start : start + length] = bytes(len(data[start : start + length]))
    else:
        changed[start : start + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"])
    return bytes(changed)


def originals(folders: list[Path]) -> list[Path]:
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [
        p for p in files if p.suffix in (".mp4", ".mkv", ".mov", ".avi", ".webm") and 0 < p.stat().st_size < MOST_BYTES
    ]


@pytest.mark.slow
def test_mutated_files_end_in_a_clip_or_a_sentence(media: Path, cases: Path, tmp_path: Path):
    draw = random.Random(11)
    files = originals([media, cases / "media"])
    paths = []
    for number in range(NUM_FILES):
        original = files[number % len(files)]
        paths.append(tmp_path / f"{number}{original.suffix}")
        paths[-1].write_bytes(mutate(original.read_bytes(), draw))
    outcomes = list(map_isolated(read, paths, num_workers=2, seconds=SECONDS))
    errors = [(paths[outcome.index].name, outcome.error) for outcome in outcomes if outcome.error]
    print(f"{len(outcomes)} files: {len(errors)} sentences")
    assert [(name, error) for name, error in errors if not SENTENCE.fullmatch(error)] == []
    assert len(outcomes) == NUM_FILES
    assert NUM_FILES // 10 < len(errors) < NUM_FILES * 9 // 10  # both happen
