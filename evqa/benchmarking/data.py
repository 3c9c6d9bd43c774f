"""`benchmark data`: what reading a clip costs, beside what the published code spends on it.

# F frames, H, W height and width, C channels
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from evqa.benchmarking.identity import compare
from evqa.benchmarking.measure import Round, Spread, StageClock, Variant, interleaved_rounds, machine
from evqa.benchmarking.reference import has_ffmpeg, read_reference
from evqa.benchmarking.reports import DataReport, ReadingCost, Scaling
from evqa.benchmarking.stages import read_in_stages
from evqa.benchmarking.workers import Kind, ReadingSpeed, compare_workers
from evqa.media.audio import AudioWindow
from evqa.media.cache import CachedReader
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.decoding import as_arrays
from evqa.media.filling import fill
from evqa.media.sampling import FrameSampling
from evqa.media.store.settings import CacheSettings

# What the published recipe reads, so that the reference path does the same work.
PUBLISHED = ClipSpec(
    frames=FrameStream(sampling=FrameSampling(exact=True)), audio=AudioWindow(policy="clips_8x2"), audio_as="fbank"
)
PACKAGES = ("av", "decord", "torch", "pillow", "numpy")
REFERENCE, UNCACHED, STAGED, EXACT = "reference", "uncached", "uncached in stages", "uncached, exact resize"
CODECS: dict[str, Literal["raw", "jpeg"]] = {"cached raw": "raw", "cached jpeg": "jpeg"}
RAW = "cached raw"
CACHED_PASSES = 20  # a cached read is too short for one measurement


def measure_data(
    paths: Sequence[Path], spec: ClipSpec = PUBLISHED, *, rounds: int, workers: int, reference: bool = True
) -> DataReport:
    """Measure all ways of reading the clips in turn, then how two of them scale.

    rounds: repetitions after a warm-up. workers: most workers of the scaling (0 leaves it out). reference: also read
    as the published code does.
    """
    torch.set_num_threads(1)  # as in a worker that loads data
    about = machine(PACKAGES)
    with tempfile.TemporaryDirectory(prefix="evqa-benchmark-") as folder:
        cached = {name: _filled(Path(folder) / codec, codec, paths, spec) for name, codec in CODECS.items()}
        variants = _variants(cached, spec, paths, reference=reference)
        passes = dict.fromkeys(cached, CACHED_PASSES)
        measured = list(interleaved_rounds(variants, paths, rounds=rounds, passes=passes))
        sizes = {name: _bytes_per_clip(reader, paths) for name, reader in cached.items()}
        scaling = _scaling(cached[RAW], spec, paths, rounds=rounds, workers=workers) if workers > 1 else []
    return DataReport(
        machine=about,
        num_clips=len(paths),
        rounds=rounds,
        spec=spec,
        ffmpeg=has_ffmpeg(),
        rows=[_row(name, measured, sizes.get(name)) for name in variants],
        scaling=scaling,
        identity=compare(paths, PUBLISHED) if reference else None,
    )


def _filled(folder: Path, codec: Literal["raw", "jpeg"], paths: Sequence[Path], spec: ClipSpec) -> CachedReader:
    reader = CachedReader(CacheSettings(folder=str(folder), codec=codec), spec)
    fill(reader, paths)
    return reader


def _variants(
    cached: Mapping[str, CachedReader], spec: ClipSpec, paths: Sequence[Path], *, reference: bool
) -> dict[str, Variant]:
    variants: dict[str, Variant] = {REFERENCE: read_reference} if reference else {}
    variants[UNCACHED] = lambda path, _: read_clip(path, spec)
    variants[STAGED] = lambda path, clock: read_in_stages(path, spec, clock)
    if spec.frames is not None and spec.frames.resize.mode in ("square", "pad") and not spec.frames.resize.exact:
        exact = replace(spec, frames=spec.frames.exactly())
        variants[EXACT] = lambda path, _: read_clip(path, exact)
    return variants | {name: IntoBatch(reader, len(paths)) for name, reader in cached.items()}


class IntoBatch:
    """Reads clips and copies their frames into the next place of a uint8 batch [B, F, H, W, C], as collating does.

    The batch is used again for the next one, as pinned memory is.
    """

    def __init__(self, reader: CachedReader, batch_size: int) -> None:
        self.reader, self.batch_size = reader, batch_size
        self._batch: torch.Tensor | None = None
        self._next = 0

    def __call__(self, path: Path, _: StageClock) -> None:
        """Read one clip; frames of another size than the first clip's are read only."""
        frames_FHWC = self.reader.read(path).frames_FHWC
        if frames_FHWC is None:
            return
        if self._batch is None:
            self._batch = torch.empty((self.batch_size, *frames_FHWC.shape), dtype=torch.uint8)
        if frames_FHWC.shape == self._batch.shape[1:]:
            self._batch[self._next].copy_(frames_FHWC)
            self._next = (self._next + 1) % self.batch_size


def _bytes_per_clip(reader: CachedReader, paths: Sequence[Path]) -> float:
    disks = [stream.disk for stream in reader.streams if stream.disk is not None]
    return sum(disk.shards.num_bytes() for disk in disks) / len(paths)


def _row(name: str, rounds: Sequence[Mapping[str, Round]], bytes_per_clip: float | None) -> ReadingCost:
    mine = [measured[name] for measured in rounds]
    ratios = [measured[REFERENCE].cpu_ms / measured[name].cpu_ms for measured in rounds if REFERENCE in measured]
    return ReadingCost(
        name=name,
        cpu_ms=Spread.of([measured.cpu_ms for measured in mine]),
        wall_ms=Spread.of([measured.wall_ms for measured in mine]),
        ratio=Spread.of(ratios) if ratios else None,
        bytes_per_clip=bytes_per_clip,
        stages={stage: Spread.of([measured.stages[stage] for measured in mine]) for stage in mine[0].stages},
    )


def _arrays(path: Path, *, spec: ClipSpec) -> dict[str, Any]:
    return as_arrays(read_clip(path, spec))


def _scaling(
    reader: CachedReader, spec: ClipSpec, paths: Sequence[Path], *, rounds: int, workers: int
) -> list[Scaling]:
    """Compare one worker with many in each round, the cache only in threads.

    What is short is measured more often in a round, rather than for longer, because a machine's speed drifts.
    """
    uncached, arrays = partial(read_clip, spec=spec), partial(_arrays, spec=spec)
    cases: list[tuple[str, Kind, Any, int, int]] = [  # name, kind, how to read; passes in a measurement, measurements
        (UNCACHED, "processes", arrays, 1, 1),
        (UNCACHED, "threads", uncached, 1, 1),
        (RAW, "threads", reader.read, 25, 4),
    ]
    measured: list[list[tuple[ReadingSpeed, ReadingSpeed]]] = [[] for _ in cases]
    for _ in range(rounds):
        for (_, kind, read, passes, times), pairs in zip(cases, measured, strict=True):
            pairs += [compare_workers(read, paths, kind=kind, workers=workers, passes=passes) for _ in range(times)]
    return [
        Scaling(
            name=name,
            kind=kind,
            workers=workers,
            one=Spread.of([one.free for one, _ in pairs]),
            many=Spread.of([many.free for _, many in pairs]),
            speedup=Spread.of([many.free / one.free for one, many in pairs]),
            speedup_wall=Spread.of([many.wall / one.wall for one, many in pairs]),
        )
        for (name, kind, *_), pairs in zip(cases, measured, strict=True)
    ]
