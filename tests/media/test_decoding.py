"""Whatever a file does to its decoder, it costs that file, in a sentence; no other one, and not the caller."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from evqa.errors import MediaError
from evqa.machine import isolated
from evqa.media import decoding
from evqa.media.audio import AudioWindow
from evqa.media.cache import CachedReader, CacheSettings
from evqa.media.clip import ClipSpec, FrameStream, Limits, read_clip
from evqa.media.encode import write_clip
from evqa.media.filling import fill
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from tests.media import deadly
from tests.media.test_cache import assert_same

SPEC = ClipSpec(
    frames=FrameStream(sampling=FrameSampling(count=4, seconds=1.0), resize=Resize(size=32)),
    audio=AudioWindow(seconds=1.0),
)
REMEMBERED = {"segv", "abort", "exit"}  # the file's fault; the rest may be the machine's


@pytest.fixture(autouse=True)
def _deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_decode", deadly.deadly_decode)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "good.mp4"
    frames = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    write_clip(path, frames_FHWC=frames, fps=8, waveform_S=np.zeros(16_000, np.float32))
    return path


def copies(video: Path, folder: Path, names: list[str]) -> list[Path]:
    """Copies of different content, so that the cache takes each for another file; written long ago."""
    paths = [folder / f"{name}.mp4" for name in names]
    for path in paths:
        path.write_bytes(video.read_bytes() + b"\0\0\0\x10free" + path.name.encode().ljust(8, b"\0")[:8])
        os.utime(path, (1e9, 1e9))
    return paths


def test_a_file_gives_the_same_clip_or_reason_in_this_process(video: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    (bug,) = copies(video, tmp_path, ["bug"])
    results = []
    for decode in (decoding.decode_here, decoding.decode_isolated):
        with pytest.raises(MediaError, match=deadly.SENTENCES["bug"]):
            decode(bug, SPEC)
        results.append((decode(video, SPEC), decode(tmp_path / "bad.mp4", SPEC)))
    (here, why), (there, why_there) = results
    assert_same(here, there)
    assert why == why_there
    assert isinstance(why, str)


@pytest.mark.parametrize("folder", ["cache", None])
def test_a_crash_costs_one_file_whether_there_is_a_cache_or_not(
    folder: str | None, video: Path, tmp_path: Path
) -> None:
    reader = CachedReader(CacheSettings(folder=folder and str(tmp_path / folder)), SPEC)
    names = ["a", *deadly.SENTENCES, "b"]

    def outcome(path: Path) -> str:
        try:
            clip = reader.read(path)
        except MediaError as error:
            return error.reason
        assert_same(clip, read_clip(path, SPEC))
        return ""

    paths = copies(video, tmp_path, names)
    with ThreadPoolExecutor(3) as pool:
        outcomes = dict(zip(names, pool.map(outcome, paths), strict=True))
    assert outcomes == {"a": "", "b": ""} | deadly.SENTENCES
    if folder:
        known = {path.stem for path in paths if reader.contains(path)}
        assert known == {"a", "b"} | REMEMBERED


def test_a_hang_is_ended_and_costs_one_file(video: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, limits=Limits(timeout_seconds=0.5))
    good, hanging = copies(video, tmp_path, ["good", "hang"])
    reader = CachedReader(CacheSettings(folder=None), spec)
    reader.read(good)
    with pytest.raises(MediaError, match=r"hang\.mp4: took longer than 3 s"):
        reader.read(hanging)
    reader.read(good)


def test_filling_goes_on_after_crashes(video: Path, tmp_path: Path) -> None:
    names = ["a", "segv", "b", "oom", "c", "bug", "d"]
    reader = CachedReader(CacheSettings(folder=str(tmp_path / "cache")), SPEC)
    filled = fill(reader, copies(video, tmp_path, names), workers=2)
    assert {error.path.stem: error.reason for error in filled.failures} == {
        name: deadly.SENTENCES[name] for name in ("segv", "oom", "bug")
    }
    again = fill(reader, [tmp_path / f"{name}.mp4" for name in "abcd"], workers=2)
    assert (again.num_stored, again.num_found) == (0, 4)


def test_a_process_that_served_others_is_not_believed_to_have_died_of_the_file(video: Path, tmp_path: Path) -> None:
    reader, paths = CachedReader(CacheSettings(folder=None), SPEC), copies(video, tmp_path, ["a", "b"])
    reader.read(paths[0])
    for worker in isolated._idle[os.getpid(), deadly.__name__]:  # as heap corruption by an earlier file would
        worker.kill()
    assert_same(reader.read(paths[1]), read_clip(paths[1], SPEC))


@pytest.mark.parametrize(
    ("cause", "lasting"), [(OSError(errno.EIO, "Input/output error"), False), (MemoryError(), False), (None, True)]
)
def test_what_may_be_the_machines_fault_is_told_apart(
    cause: Exception | None, lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, spec: ClipSpec, *, spool: None) -> None:
        raise MediaError(path, "is odd") from cause

    monkeypatch.setattr(decoding, "read_clip", fail)
    assert deadly.decode((Path("x.mp4"), None), spec=SPEC) == ("is odd", lasting)


def test_threads_get_their_own_clips(video: Path, tmp_path: Path) -> None:
    paths = copies(video, tmp_path, [f"{number}" for number in range(4)])
    reader = CachedReader(CacheSettings(folder=None), SPEC)
    barrier = threading.Barrier(2)

    def read(path: Path) -> None:
        barrier.wait(60)
        assert_same(reader.read(path), read_clip(path, SPEC))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, paths))


def test_a_filling_that_is_left_ends_what_is_being_decoded(video: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, limits=Limits(timeout_seconds=100.0))
    reader = CachedReader(CacheSettings(folder=str(tmp_path / "cache")), spec)
    known = copies(video, tmp_path, list("abcdefgh"))  # so that no file is decoded to estimate what is needed
    fill(reader, known, workers=2)

    def leave(done: int, total: int) -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fill(reader, [*copies(video, tmp_path, ["hang"]), *known], workers=2, progress=leave)
    assert time.monotonic() - started < 60
