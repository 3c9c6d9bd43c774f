"""Processes that fill one cache are killed, meet each other, or die of a file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
import torch

from evqa.media import cache
from evqa.media.audio import AudioWindow
from evqa.media.cache import CachedReader, CacheSettings
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.encode import write_clip
from evqa.media.filling import fill
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.media.store.claims import try_claim
from evqa.types import Clip

SPEC = ClipSpec(
    frames=FrameStream(sampling=FrameSampling(count=4, seconds=1.0), resize=Resize(size=64)),
    audio=AudioWindow(seconds=1.0),
)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Clip]:
    """Twenty-four clips and what reading them gives."""
    folder, clips = tmp_path_factory.mktemp("videos"), {}
    for seed in range(24):
        draw = np.random.default_rng(seed)
        path = folder / f"{seed}.mp4"
        frames = draw.integers(0, 255, (8, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
        write_clip(path, frames_FHWC=frames, fps=8, waveform_S=draw.normal(0, 0.1, 16_000).astype(np.float32))
        os.utime(path, (1e9, 1e9))
        clips[path] = read_clip(path, SPEC)
    return clips


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@pytest.fixture
def settings(tmp_path: Path) -> CacheSettings:
    return CacheSettings(folder=str(tmp_path / "cache"), shard_megabytes=0.5)


def fill_here(reader: CachedReader, paths: list[Path]) -> None:
    """Fill a cache, decoding in this process, which starts sooner."""
    cache.decode_isolated = read_clip
    fill(reader, paths)


def start(context: ForkServerContext, settings: CacheSettings, paths: list[Path]) -> ForkServerProcess:
    process = context.Process(target=fill_here, args=(CachedReader(settings, SPEC), paths))
    process.start()
    return process


def published(settings: CacheSettings) -> list[str]:
    """The keys of all lines of all indexes, those of pictures and of sound with their folders' names."""
    indexes = Path(settings.folder or "").rglob("*.index")
    lines = [(i.parent.name, line.rpartition(" ")[0]) for i in indexes for line in i.read_text().splitlines()]
    fields = [(folder, json.loads(line)) for folder, line in lines]
    return [f"{folder} {field[0]}" for folder, field in fields if field != ["end"]]


def num_whole(keys: list[str]) -> int:
    """How many files have their pictures and their sound among these keys."""
    return sum(count == 2 for count in Counter(key.split()[1] for key in keys).values())


def claims(settings: CacheSettings) -> set[str]:
    """The owners of all claims."""
    owners = set()
    for path in Path(settings.folder or "").glob("*/*.claim"):
        with contextlib.suppress(FileNotFoundError):  # released just now
            owners.add(str(path.readlink()))
    return owners


def num_wrong(settings: CacheSettings, expected: dict[Path, Clip]) -> int:
    reader = CachedReader(dataclasses.replace(settings, fill="never"), SPEC)
    return sum(not same(reader.read(path), clip) for path, clip in expected.items() if reader.contains(path))


def same(one: Clip, other: Clip) -> bool:
    parts = [(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(Clip)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in parts)


def test_killing_a_filling_process_at_any_moment_leaves_nothing_wrong_and_the_next_one_goes_on(
    expected: dict[Path, Clip], settings: CacheSettings, context: ForkServerContext, tmp_path: Path
) -> None:
    draw, paths = random.Random(0), list(expected)
    process = start(context, settings, paths[:1])
    process.join()  # the server has started; what follows is fast
    num_before, num_cut_short = 1, 0
    for trial in range(20):
        if num_before == len(paths):
            settings = dataclasses.replace(settings, folder=str(tmp_path / f"cache {trial}"))
        before = claims(settings)
        process = start(context, settings, paths)
        while process.is_alive() and claims(settings) <= before:
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.1))
        process.kill()
        process.join()
        num_cut_short += process.exitcode != 0
        keys = published(settings)
        assert len(keys) == len(set(keys))
        assert num_wrong(settings, expected) == 0
        num_before = num_whole(keys)
    assert num_cut_short >= 10
    filled = fill(CachedReader(settings, SPEC), paths)
    assert filled.num_stored + filled.num_found == len(paths)
    assert filled.num_found == num_before
    assert sorted(published(settings)) == sorted(set(published(settings)))
    assert num_wrong(settings, expected) == 0
    assert not claims(settings)


def test_two_processes_that_fill_at_once_store_each_clip_once(
    expected: dict[Path, Clip], settings: CacheSettings, context: ForkServerContext
) -> None:
    processes = [start(context, settings, list(expected)) for _ in range(2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    keys = published(settings)
    assert len(keys) == len(set(keys)) == 2 * len(expected)
    sizes = [path.stat().st_size for path in Path(settings.folder or "").rglob("*.shard")]
    assert len([size for size in sizes if size]) >= 2  # both took part
    streams = CachedReader(settings, SPEC).streams
    assert sum(sizes) == sum(stream.record_bytes(path) for stream in streams for path in expected)
    assert num_wrong(settings, expected) == 0


def test_a_claim_counts_while_its_process_lives(tmp_path: Path) -> None:
    path = tmp_path / "some.claim"
    held = try_claim(path, patience_seconds=1000.0)
    assert held is not None
    assert try_claim(path, patience_seconds=1000.0) is None
    with held:
        pass
    code = "import sys, pathlib; from evqa.media.store.claims import try_claim; "
    code += "try_claim(pathlib.Path(sys.argv[1]), patience_seconds=1)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.is_symlink()
    taken = try_claim(path, patience_seconds=1000.0)
    assert taken is not None
    assert taken.is_held()


def test_a_claim_from_another_machine_counts_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "some.claim"
    path.symlink_to(json.dumps(["another machine", 1, "1", "token"]))
    assert try_claim(path, patience_seconds=1000.0) is None
    assert try_claim(path, patience_seconds=-1.0) is not None


class Deadly(type(Path())):  # type: ignore[misc]
    """A path that ends the process to which it is sent."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)


@pytest.mark.slow
def test_a_file_that_kills_its_decoder_becomes_a_failure_and_the_rest_is_stored(
    expected: dict[Path, Clip], settings: CacheSettings, tmp_path: Path
) -> None:
    paths = list(expected)[:9]
    deadly = tmp_path / "deadly.mp4"
    deadly.write_bytes(b"deadly")
    filled = fill(CachedReader(settings, SPEC), [*paths[:2], Deadly(deadly), *paths[2:]], workers=2)
    assert [(str(failure.path), failure.reason) for failure in filled.failures] == [
        (str(deadly), "killed the process that read it (exit status 9)")
    ]
    assert filled.num_stored + filled.num_found == 10
    assert CachedReader(settings, SPEC).contains(deadly)
    assert num_wrong(settings, {path: expected[path] for path in paths}) == 0
