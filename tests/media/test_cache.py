"""The cache gives what `read_clip` gives, whatever was asked for and whatever happened to its files."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evqa.errors import MediaError
from evqa.media import cache
from evqa.media.audio import AudioWindow
from evqa.media.cache import CachedReader, CacheError, CacheSettings
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.decoding import decode_isolated
from evqa.media.encode import write_clip
from evqa.media.filling import estimate, fill
from evqa.media.image import Tiling
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.media.store.frames import FrameMemory, pack_frames
from evqa.media.store.naming import describe
from evqa.media.store.record import decode, encode
from evqa.types import Clip

FRAMES, AUDIO = FrameSampling(count=4, seconds=2.0), AudioWindow(seconds=2.0)


def resized(**how) -> ClipSpec:
    return ClipSpec(frames=FrameStream(sampling=FRAMES, resize=Resize(**how)), audio=AUDIO)


SPEC = resized(size=64)
SPECS = {
    "square": SPEC,
    "pad": resized(mode="pad", size=64),
    "native": resized(mode="native"),
    "filter bank": dataclasses.replace(SPEC, audio_as="fbank"),
    "sound": dataclasses.replace(SPEC, frames=None),
    "picture": dataclasses.replace(SPEC, audio=None),
    "decord": dataclasses.replace(SPEC, reader="decord"),
}


def make_video(path: Path, *, seed: int = 0, height: int = 96, width: int = 48, sound: bool = True) -> Path:
    draw = np.random.default_rng(seed)
    frames = draw.integers(0, 255, (12, height // 8, width // 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    waveform = (draw.standard_normal(24_000) * 0.1).astype(np.float32)
    write_clip(path, frames_FHWC=frames, fps=8, waveform_S=waveform if sound else None)
    os.utime(path, (1e9 + seed, 1e9 + seed))  # long ago: the hash may be remembered
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [make_video(folder / f"{seed}.mp4", seed=seed, sound=seed != 3) for seed in range(8)]


@pytest.fixture
def settings(tmp_path: Path) -> CacheSettings:
    return CacheSettings(folder=str(tmp_path / "cache"), max_gigabytes=0.1)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded."""
    paths: list[Path] = []

    def spy(path: Path, spec: ClipSpec) -> Clip | str:
        paths.append(path)
        return decode_isolated(path, spec)

    monkeypatch.setattr(cache, "decode_isolated", spy)
    return paths


def assert_same(one: Clip, other: Clip) -> None:
    for field in dataclasses.fields(Clip):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(theirs, torch.Tensor):
            assert mine.dtype == theirs.dtype, field.name
            assert torch.equal(mine, theirs), field.name
        else:
            assert mine == theirs, field.name


def shards(settings: CacheSettings, suffix: str = ".shard") -> list[Path]:
    return sorted(Path(settings.folder or "").rglob(f"*{suffix}"))


@pytest.mark.parametrize("name", SPECS)
def test_a_cached_clip_is_identical_to_a_decoded_one(name: str, videos: list[Path], settings: CacheSettings) -> None:
    if name == "decord":
        pytest.importorskip("decord")
    reader = CachedReader(settings, SPECS[name])
    for path in videos[:4]:
        decoded = read_clip(path, SPECS[name])
        assert_same(reader.read(path), decoded)
        assert_same(reader.read(path), decoded)
        assert_same(CachedReader(settings, SPECS[name]).read(path), decoded)


def test_a_clip_is_decoded_once_whatever_its_file_is_called(
    videos: list[Path], settings: CacheSettings, decoded: list[Path], tmp_path: Path
) -> None:
    reader = CachedReader(settings, SPEC)
    same = tmp_path / "another name.mp4"
    same.write_bytes(videos[0].read_bytes())
    assert not reader.contains(videos[0])
    for path in (videos[0], same, videos[0]):
        reader(path)
        pickle.loads(pickle.dumps(reader)).read(path)
    assert decoded == [videos[0], videos[0]]  # its pictures and its sound
    assert reader.contains(same)


def test_a_file_with_new_content_is_decoded_again(settings: CacheSettings, decoded: list[Path], tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", seed=1)
    first = CachedReader(settings, SPEC).read(path)
    make_video(path, seed=2)
    second = CachedReader(settings, SPEC).read(path)
    assert decoded == [path] * 4  # pictures and sound, each time
    assert not torch.equal(first.frames_FHWC, second.frames_FHWC)


def test_nothing_is_written_without_a_folder_or_with_fill_never(
    videos: list[Path], settings: CacheSettings, decoded: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for other in ({"folder": None}, {"fill": "never"}):
        assert_same(
            CachedReader(dataclasses.replace(settings, **other), SPEC).read(videos[0]), read_clip(videos[0], SPEC)
        )
    assert decoded == [videos[0]] * 3  # with a folder pictures and sound apart
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", [("a", "v", "av"), ("av", "v", "a"), ("v", "av", "a")], ids="-".join)
def test_pictures_and_sound_are_decoded_and_stored_once_for_all_modalities(
    order: tuple[str, ...], videos: list[Path], settings: CacheSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = {"a": SPECS["sound"], "v": SPECS["picture"], "av": SPEC}
    asked: list[tuple[Path, bool, bool]] = []

    def spy(path: Path, spec: ClipSpec) -> Clip | str:
        asked.append((path, spec.frames is not None, spec.audio is not None))
        return decode_isolated(path, spec)

    monkeypatch.setattr(cache, "decode_isolated", spy)
    for modal in order:
        reader = CachedReader(settings, specs[modal])
        for path in videos:
            assert_same(reader.read(path), read_clip(path, specs[modal]))
    assert sorted(asked) == sorted((path, kind, not kind) for path in videos for kind in (True, False))
    total = sum(path.stat().st_size for path in shards(settings))
    alone = dataclasses.replace(settings, folder=f"{settings.folder} alone")
    fill(CachedReader(alone, SPEC), videos)
    assert total == sum(path.stat().st_size for path in shards(alone))
    assert {path.parent.name for path in shards(settings)} == {path.parent.name for path in shards(alone)}


def leaves(value: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if dataclasses.is_dataclass(part):
            yield from leaves(part, *names, field.name)
        else:
            yield (*names, field.name), part


def changed(value: Any, names: tuple[str, ...]) -> Any:
    if not names:
        options = {"first_n_seconds": "uniform", "square": "pad", "waveform": "fbank", "packets": "decord"}
        if isinstance(value, tuple):
            return value[1:]
        return options[value] if isinstance(value, str) else not value if isinstance(value, bool) else value + 1
    part = changed(getattr(value, names[0]), names[1:])
    copy = object.__new__(type(value))  # without the checks of combinations
    for field in dataclasses.fields(value):
        object.__setattr__(copy, field.name, part if field.name == names[0] else getattr(value, field.name))
    return copy


def test_every_parameter_of_the_specification_is_part_of_the_key() -> None:
    spec = dataclasses.replace(SPEC, motion=SPEC.frames, image=Tiling())
    names = {changed_names for changed_names, _ in leaves(spec)}
    described = {describe(changed(spec, name), codec="raw") for name in names}
    assert len(described | {describe(spec, codec="raw"), describe(spec, codec="jpeg 95")}) == len(names) + 2
    assert len(names) >= 36


def test_what_came_later_and_is_not_used_leaves_the_first_releases_description() -> None:
    plain = json.loads(describe(SPEC, codec="raw"))["spec"]
    assert set(plain) == {"frames", "audio", "resize", "audio_as", "reader", "limits"}
    assert set(plain["frames"]) == {"policy", "count", "seconds", "fps", "exact"}
    assert plain["resize"]["size"] == 64


def test_equal_specifications_share_their_clips() -> None:
    whole = dataclasses.replace(SPEC, audio=AudioWindow(seconds=2))
    assert describe(SPEC, codec="raw") == describe(whole, codec="raw")


def test_pad_mode_stores_only_the_picture(videos: list[Path], settings: CacheSettings) -> None:
    spec = dataclasses.replace(resized(mode="pad", size=256), audio=None)
    CachedReader(settings, spec).read(videos[0])
    picture = 4 * 256 * 128 * 3
    assert picture < shards(settings)[0].stat().st_size < 1.1 * picture


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
@pytest.mark.parametrize(
    "box",
    [(0, 0, 0, 0), (0, 0, 6, 5), (1, 0, 4, 5), (2, 1, 3, 2), (0, 1, 6, 1), (5, 4, 1, 1)],
    ids=["empty", "whole", "rows", "inside", "column", "corner"],
)
def test_a_border_of_one_colour_is_restored(box: tuple[int, int, int, int], codec: str) -> None:
    top, left, height, width = box
    frames = torch.full((3, 6, 5, 3), 200, dtype=torch.uint8)
    frames[:] = torch.tensor([1, 2, 3], dtype=torch.uint8)
    frames[:, top : top + height, left : left + width] = 250
    plan, stored = pack_frames(frames, jpeg_quality=None if codec == "raw" else 100)
    memory = FrameMemory(plan, stored.numel())
    at = 0
    for piece in memory.pieces:
        piece.reshape(-1)[:] = stored.numpy()[at : at + piece.size]
        at += piece.size
    restored = memory.restore()
    assert at == stored.numel()
    assert restored.shape == frames.shape
    assert (restored.int() - frames.int()).abs().max() <= (0 if codec == "raw" else 3)
    assert codec == "jpeg" or stored.numel() <= max(height * width, 1) * 9


def test_more_pictures_than_one_read_of_the_system_can_place(tmp_path: Path) -> None:
    frames = torch.zeros((2500, 4, 2, 3), dtype=torch.uint8)
    frames[:, 1:3] = torch.randint(1, 256, (2500, 2, 2, 3), generator=torch.Generator().manual_seed(0))
    path = tmp_path / "record"
    path.write_bytes(b"".join(encode(bytes(32), Clip(frames_FHWC=frames), jpeg_quality=None)))
    with path.open("rb") as file:
        clip = decode(file.fileno(), 0, bytes(32), check=True)
    assert isinstance(clip, Clip)
    assert clip.frames_FHWC is not None
    assert torch.equal(clip.frames_FHWC, frames)


def test_jpeg_is_much_smaller_and_close_and_keeps_the_sound(videos: list[Path], settings: CacheSettings) -> None:
    settings = dataclasses.replace(settings, codec="jpeg")
    for spec in (SPECS["pad"], SPECS["native"]):
        reader, decoded = CachedReader(settings, spec), read_clip(videos[0], spec)
        reader.read(videos[0])
        cached = reader.read(videos[0])
        error = (cached.frames_FHWC.float() - decoded.frames_FHWC.float()).abs()
        assert 0 < error.mean() < 4
        assert_same(dataclasses.replace(cached, frames_FHWC=decoded.frames_FHWC), decoded)


def test_a_failure_is_remembered_with_its_sentence(
    settings: CacheSettings, decoded: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video at all" * 99)
    sentences = []
    for _ in range(3):
        with pytest.raises(MediaError) as caught:
            CachedReader(settings, SPEC).read(path)
        sentences.append(str(caught.value))
    assert decoded == [path]
    assert len(set(sentences)) == 1
    assert str(path) in sentences[0]


def test_a_failure_that_is_not_the_files_fault_is_not_remembered(
    videos: list[Path], settings: CacheSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, spec: ClipSpec) -> Clip:
        raise MediaError(path, "cannot be opened (Input/output error)") from OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "decode_isolated", fail)
        with pytest.raises(MediaError, match="Input/output error"):
            CachedReader(settings, SPEC).read(videos[0])
    assert_same(CachedReader(settings, SPEC).read(videos[0]), read_clip(videos[0], SPEC))


def test_a_missing_file_is_said_by_the_reader(settings: CacheSettings, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.mp4: cannot be opened"):
        CachedReader(settings, SPEC).read(tmp_path / "none.mp4")


@pytest.mark.parametrize("name", ["picture", "sound"])
def test_any_flipped_byte_is_noticed_and_the_clip_written_anew(
    name: str, videos: list[Path], settings: CacheSettings, caplog: pytest.LogCaptureFixture
) -> None:
    spec = SPECS[name]
    expected = read_clip(videos[0], spec)
    num_bytes = 2 * expected.waveform_S.numel() if name == "sound" else expected.frames_FHWC.numel() + 4 * 8
    CachedReader(settings, spec).read(videos[0])
    draw = np.random.default_rng(0)
    for trial in range(12):
        shard = max(shards(settings), key=lambda path: path.stat().st_mtime_ns)
        data = bytearray(shard.read_bytes())
        data[3 * trial if trial < 6 else draw.integers(4096, 4096 + num_bytes)] ^= 1 << draw.integers(8)
        shard.write_bytes(data)
        caplog.clear()
        assert_same(CachedReader(settings, spec).read(videos[0]), expected)
        assert "damaged" in caplog.text
        caplog.clear()
        assert_same(CachedReader(settings, spec).read(videos[0]), expected)
        assert caplog.text == ""


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_a_shard_that_was_cut_off_or_lost_is_a_miss(
    kept: int, videos: list[Path], settings: CacheSettings, caplog: pytest.LogCaptureFixture
) -> None:
    CachedReader(settings, SPEC).read(videos[0])
    if kept:
        os.truncate(shards(settings)[0], kept)
    else:
        shards(settings)[0].unlink()
    assert_same(CachedReader(settings, SPEC).read(videos[0]), read_clip(videos[0], SPEC))
    assert ("damaged" in caplog.text) == (kept > 0)


def test_a_torn_or_foreign_line_of_the_index_is_skipped(videos: list[Path], settings: CacheSettings) -> None:
    CachedReader(settings, SPEC).read(videos[0])
    index = shards(settings, ".index")[0]
    line = index.read_bytes().splitlines(keepends=True)[0]
    index.write_bytes(b"\xff\n" + line.replace(b"0", b"1", 1) + line + line[: len(line) // 2])
    reader = CachedReader(settings, SPEC)
    assert reader.contains(videos[0])
    assert_same(reader.read(videos[0]), read_clip(videos[0], SPEC))


def test_threads_may_share_a_reader(videos: list[Path], settings: CacheSettings) -> None:
    reader = CachedReader(settings, SPEC)
    expected = {path: read_clip(path, SPEC) for path in videos}
    with ThreadPoolExecutor(4) as pool:
        for path, clip in zip(videos * 6, pool.map(reader.read, videos * 6), strict=True):
            assert_same(clip, expected[path])


def test_frames_may_be_changed_without_changing_the_cache(videos: list[Path], settings: CacheSettings) -> None:
    spec = resized(size=512)  # large enough for memory that is used again
    reader, expected = CachedReader(settings, spec), read_clip(videos[0], spec)
    kept = [reader.read(videos[0]) for _ in range(3)]
    reader.read(videos[0]).frames_FHWC.zero_()
    for _ in range(3):
        assert_same(reader.read(videos[1]), read_clip(videos[1], spec))
    for clip in kept:
        assert_same(clip, expected)


def test_a_folder_that_cannot_be_written_costs_a_warning_and_no_clip(
    videos: list[Path], settings: CacheSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    settings = dataclasses.replace(settings, folder=str(tmp_path / "file" / "cache"))
    reader = CachedReader(settings, SPEC)
    for path in videos[:3]:
        assert_same(reader.read(path), read_clip(path, SPEC))
    sentence = f"cache: {settings.folder} cannot be written (Not a directory); clips that are not in it are decoded"
    assert caplog.text.count(sentence) == 1
    with pytest.raises(CacheError, match=r"cannot be written \(Not a directory\)"):
        fill(reader, videos)


def test_a_shard_that_cannot_be_read_now_is_left_alone(
    videos: list[Path], settings: CacheSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = CachedReader(settings, SPEC)
    reader.read(videos[0])
    before = [path.stat().st_size for path in shards(settings)]

    def pread(*_: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        assert_same(reader.read(videos[0]), read_clip(videos[0], SPEC))
    assert "cannot be read (Input/output error); the video is decoded" in caplog.text
    assert [path.stat().st_size for path in shards(settings)] == before
    assert reader.contains(videos[0])


def test_a_full_disk_costs_a_warning_and_leaves_nothing_half_written(
    videos: list[Path], settings: CacheSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader = CachedReader(settings, SPEC)
    reader.read(videos[0])
    before = [path.stat().st_size for path in shards(settings)]
    written = []

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        written.append(write(descriptor, data[:100], offset))
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written[-1]

    write = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        for path in videos[:3]:
            assert_same(reader.read(path), read_clip(path, SPEC))
    assert caplog.text.count("cannot be written (No space left on device)") == 1
    assert [path.stat().st_size for path in shards(settings)] == before
    assert not shards(settings, ".claim")
    assert_same(CachedReader(settings, SPEC).read(videos[1]), read_clip(videos[1], SPEC))


def test_what_will_not_fit_is_refused_before_anything_is_decoded_for_it(
    videos: list[Path], settings: CacheSettings
) -> None:
    reader = CachedReader(dataclasses.replace(settings, max_gigabytes=0.0005), SPEC)
    asked = estimate(reader, videos)
    record = 4 * 64 * 64 * 3 + 2 * 24_000
    assert asked.num_files == 8
    assert asked.num_cached == 0
    assert record < asked.clip_bytes < record + 3 * 4096
    with pytest.raises(CacheError, match=r"8 clips need about 0.000\d+ GB in .* but max_gigabytes is 0.0005; raise it"):
        fill(reader, videos)
    assert not shards(settings)


def test_the_shards_that_were_not_used_for_longest_go_first(
    videos: list[Path], settings: CacheSettings, monkeypatch: pytest.MonkeyPatch, decoded: list[Path]
) -> None:
    monkeypatch.setattr("evqa.media.store.room.IN_USE_SECONDS", 100.0)
    record = 4 * 64 * 64 * 3 + 2 * 24_000 + 2 * 4096
    settings = dataclasses.replace(settings, max_gigabytes=4.5 * record / 1e9, shard_megabytes=0.01)
    for path in videos[:4]:
        CachedReader(settings, SPEC).read(path)
    for file in Path(settings.folder or "").rglob("*.*"):
        os.utime(file, (file.stat().st_mtime - 1000,) * 2)
    CachedReader(settings, SPEC).read(videos[0])  # used again
    CachedReader(settings, SPEC).read(videos[4])  # needs room
    fresh = CachedReader(settings, SPEC)
    assert fresh.contains(videos[0])
    assert fresh.contains(videos[4])
    assert not all(fresh.contains(path) for path in videos[1:4])
    assert sum(path.stat().st_size for path in shards(settings)) <= settings.max_gigabytes * 1e9


def test_shards_in_use_stay_and_the_rest_is_decoded_each_time(
    videos: list[Path], settings: CacheSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings = dataclasses.replace(settings, max_gigabytes=0.00025)
    reader = CachedReader(settings, SPEC)
    for path in videos:
        assert_same(reader.read(path), read_clip(path, SPEC))
    stored = [path for path in videos if reader.contains(path)]
    assert 1 <= len(stored) < len(videos)
    assert caplog.text.count("is full: max_gigabytes is 0.00025") == 1


def test_filling_reports_and_the_second_time_finds_everything(
    videos: list[Path], settings: CacheSettings, tmp_path: Path, decoded: list[Path]
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"0" * 99)
    paths, done = [*videos, broken, tmp_path / "none.mp4", videos[0]], []
    first = fill(CachedReader(settings, SPEC), paths, progress=lambda now, of: done.append((now, of)))
    assert (first.num_stored, first.num_found) == (9, 0)
    assert done == [(n, 10) for n in range(1, 11)]
    assert first.num_bytes == sum(path.stat().st_size for path in shards(settings))
    decoded.clear()
    again = fill(CachedReader(settings, SPEC), paths)
    assert (again.num_stored, again.num_found, again.num_bytes) == (0, 9, 0)
    assert decoded == []
    assert [str(f) for f in again.failures] == [str(f) for f in first.failures]
    assert [f.path for f in again.failures] == [broken, tmp_path / "none.mp4"]
