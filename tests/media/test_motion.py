"""Motion streams: every frame of a clip, on disk without a name, in chunks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from evqa.errors import MediaError
from evqa.media.audio import AudioWindow
from evqa.media.cache import CachedReader, CacheSettings
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.decoding import decode_isolated
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.types import Clip

KEYS = FrameStream(sampling=FrameSampling(policy="each_second", exact=True), resize=Resize(size=32))
MOTION = FrameStream(sampling=FrameSampling(policy="all", multiple_of=4), resize=Resize(size=16))
SPEC = ClipSpec(frames=KEYS, motion=MOTION, audio=AudioWindow(policy="whole"))


def whole(clip: Clip, size: int = 7) -> torch.Tensor:
    return torch.cat(list(clip.motion.chunks(size)))


def held(path: Path, spec: FrameStream) -> torch.Tensor:
    """The same frames, held in memory."""
    return read_clip(path, ClipSpec(frames=spec)).frames_FHWC


def open_spools() -> list[str]:
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def test_one_pass_gives_the_frames_of_both_streams(make_video):
    path = make_video(seconds=[i / 30 for i in range(75)], tone_seconds=2.5)
    clip = read_clip(path, SPEC)
    assert clip.frames_FHWC.shape == (3, 32, 32, 3)
    assert torch.equal(clip.frames_FHWC, held(path, KEYS))
    assert (clip.motion.num_frames, clip.motion.height, clip.motion.width) == (72, 16, 16)
    assert torch.equal(whole(clip), held(path, MOTION))
    assert torch.allclose(clip.motion.seconds_N, torch.arange(72, dtype=torch.float64) / 30, atol=2e-3)
    assert clip.missing == ()


def test_streams_of_one_size_share_the_resized_frame(make_video):
    path = make_video()
    stream = dataclasses.replace(MOTION, resize=KEYS.resize)
    clip = read_clip(path, ClipSpec(frames=KEYS, motion=stream))
    assert torch.equal(clip.frames_FHWC, whole(clip)[[0, 30]])


@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (7, 0), (7, 3), (20, 19), (60, 0), (100, 36)])
def test_chunks_cover_the_stream_with_the_overlap_asked_for(make_video, size, overlap):
    clip = read_clip(make_video(), dataclasses.replace(SPEC, audio=None))
    frames = whole(clip)
    chunks = list(clip.motion.chunks(size, overlap=overlap))
    starts = [number * (size - overlap) for number in range(len(chunks))]
    for start, chunk in zip(starts, chunks, strict=True):
        assert torch.equal(chunk, frames[start : start + size])
        assert len(chunk) > overlap or len(chunks) == 1
    assert starts[-1] + len(chunks[-1]) == clip.motion.num_frames == 60
    assert all(map(torch.equal, chunks, clip.motion.chunks(size, overlap=overlap)))  # as often as one likes


def test_an_overlap_of_a_whole_chunk_is_refused(make_video):
    clip = read_clip(make_video(), SPEC)
    with pytest.raises(ValueError, match="chunks of 4 frames cannot overlap by 4; the overlap must be smaller"):
        next(clip.motion.chunks(4, overlap=4))


def test_a_variable_frame_rate_and_damage_change_nothing(make_video, damage):
    uneven = make_video("uneven.mp4", seconds=[0.0, 0.1, 0.15, 0.9, 1.0, 1.02, 2.5, 2.6])
    assert torch.equal(whole(read_clip(uneven, SPEC)), held(uneven, MOTION))
    broken = damage(make_video("broken.mp4"))
    clip = read_clip(broken, dataclasses.replace(SPEC, audio=None))
    assert torch.equal(whole(clip), held(broken, MOTION))
    assert any("damaged places in the picture" in sentence for sentence in clip.missing)


def test_a_video_that_changes_its_size_keeps_the_first_ones(make_video):
    small, large = make_video("small.ts", size=(64, 48)), make_video("large.ts", size=(128, 96))
    small.write_bytes(small.read_bytes() + large.read_bytes())
    clip = read_clip(small, ClipSpec(motion=dataclasses.replace(MOTION, resize=Resize(mode="native"))))
    assert (clip.motion.num_frames, clip.motion.height, clip.motion.width) == (120, 48, 64)
    assert whole(clip).shape == (120, 48, 64, 3)


def test_decord_gives_the_same_motion(make_video):
    pytest.importorskip("decord")
    path = make_video()
    assert torch.equal(whole(read_clip(path, dataclasses.replace(SPEC, reader="decord"))), held(path, MOTION))


def test_too_many_frames_are_refused_with_the_choices(make_video):
    few = dataclasses.replace(MOTION, sampling=dataclasses.replace(MOTION.sampling, at_most=40))
    with pytest.raises(MediaError, match=r"has 60 frames .* than the 40 allowed; raise its stride or at_most"):
        read_clip(make_video(), ClipSpec(motion=few))


# ---- where it lies


def test_a_stream_has_no_name_and_is_freed_with_its_last_user(make_video, tmp_path, monkeypatch):
    folder = tmp_path / "spools"
    folder.mkdir()
    clip = decode_isolated(make_video(), SPEC, folder=str(folder))
    assert list(folder.iterdir()) == []
    assert [place for place in open_spools() if str(folder) in place and "deleted" in place]
    chunks = clip.motion.chunks(8)
    next(chunks)
    del clip
    assert len(next(chunks)) == 8  # it is in use
    del chunks
    assert not [place for place in open_spools() if str(folder) in place]


def test_a_closed_stream_says_so_and_none_goes_to_another_process(make_video):
    clip = read_clip(make_video(), SPEC)
    with pytest.raises(TypeError, match="stays in the process that read it"):
        pickle.dumps(clip)
    clip.motion.close()
    with pytest.raises(ValueError, match="has been closed; read the clip again"):
        next(clip.motion.chunks(8))


def test_a_process_of_its_own_gives_the_same_clip(make_video):
    path = make_video(tone_seconds=2.0)
    here, there = read_clip(path, SPEC), decode_isolated(path, SPEC)
    assert torch.equal(whole(here), whole(there))
    assert torch.equal(here.motion.seconds_N, there.motion.seconds_N)
    assert torch.equal(here.frames_FHWC, there.frames_FHWC)
    assert (here.seconds, here.num_frames, here.missing) == (there.seconds, there.num_frames, there.missing)


def test_a_folder_that_cannot_be_written_leaves_the_temporary_ones(make_video):
    assert decode_isolated(make_video(), SPEC, folder="/proc/nowhere").motion.num_frames == 60


KILLED = """
import os, signal, sys
from pathlib import Path
from evqa.media import spool
from evqa.media.clip import read_clip
from tests.media.test_motion import SPEC
def add(self, number, frame, *, seconds, kept=spool.FrameWriter.add):
    kept(self, number, frame, seconds=seconds)
    number > 20 and os.kill(os.getpid(), signal.SIGKILL)
spool.FrameWriter.add = add
read_clip(Path(sys.argv[1]), SPEC)
"""


def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_process_leaves_nothing_behind(make_video, tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    assert run(KILLED, make_video(), TMPDIR=str(folder)).returncode == -9
    assert list(folder.iterdir()) == []


FULL = """
import resource, sys
from pathlib import Path
from evqa.errors import MediaError
from evqa.media.clip import read_clip
from tests.media.test_motion import SPEC
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    read_clip(Path(sys.argv[1]), SPEC)
except MediaError as error:
    print(error.reason, type(error.__cause__).__name__)
"""


def test_a_full_disk_is_a_sentence_and_not_the_files_fault(make_video):
    assert run(FULL, make_video()).stdout == (
        "has a motion stream of 0 MB, which cannot be written to disk (File too large); free space, or name a larger "
        "disk by data.cache.folder or TMPDIR OSError\n"
    )


# ---- with a cache


def test_the_cache_keeps_everything_but_motion(make_video, tmp_path, monkeypatch):
    path = make_video(tone_seconds=2.0)
    reader = CachedReader(CacheSettings(folder=str(tmp_path / "cache")), SPEC)
    fresh, again = reader.read(path), reader.read(path)
    plain = CachedReader(reader.settings, dataclasses.replace(SPEC, motion=None))
    assert plain.contains(path)
    assert plain.read(path).motion is None
    for clip in (fresh, again):
        assert torch.equal(whole(clip), held(path, MOTION))
        assert torch.equal(clip.frames_FHWC, held(path, KEYS))
        assert clip.waveform_S.numel() == fresh.waveform_S.numel() > 0
        assert (clip.seconds, clip.num_frames, clip.missing) == (2.0, 60, ())
    used = sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*") if file.is_file())
    assert used < 200_000  # 2 key frames and 2 s of sound


def test_what_is_wrong_with_motion_alone_is_not_kept(make_video, tmp_path):
    path = make_video()
    few = dataclasses.replace(MOTION, sampling=dataclasses.replace(MOTION.sampling, at_most=4))
    reader = CachedReader(CacheSettings(folder=str(tmp_path / "cache")), dataclasses.replace(SPEC, motion=few))
    plain = CachedReader(reader.settings, dataclasses.replace(SPEC, motion=None))
    for _ in range(2):
        with pytest.raises(MediaError, match="more than the 4 allowed"):
            reader.read(path)
        assert len(plain.read(path).frames_FHWC) == 2


def test_filling_a_cache_decodes_no_motion(make_video, tmp_path):
    path = make_video()
    few = dataclasses.replace(MOTION, sampling=dataclasses.replace(MOTION.sampling, at_most=4))
    reader = CachedReader(CacheSettings(folder=str(tmp_path / "cache")), dataclasses.replace(SPEC, motion=few))
    assert reader.store(path).state == "stored"


# ---- memory

PEAK = """
import json, resource, sys, threading, time
from pathlib import Path
from evqa.media.cache import CachedReader, CacheSettings
from evqa.media.clip import ClipSpec, FrameStream
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
short, long = map(Path, sys.argv[1:])
stream = FrameStream(sampling=FrameSampling(policy="all", multiple_of=4), resize=Resize(size=384))
keys = FrameStream(sampling=FrameSampling(policy="each_second"), resize=Resize(size=384))
read = CachedReader(CacheSettings(folder=None), ClipSpec(frames=keys, motion=stream))
peaks = {}
def watch():
    while True:
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            fields = dict(line.split(":\\t", 1) for line in text.splitlines() if ":\\t" in line)
            if fields["Pid"].strip() in family(status.parent, fields):
                peaks[fields["Pid"]] = max(peaks.get(fields["Pid"], 0), int(fields.get("RssAnon", "0 kB").split()[0]))
        time.sleep(0.02)
mine = {str(__import__("os").getpid())}
def family(folder, fields):
    if fields["PPid"].strip() in mine:
        mine.add(fields["Pid"].strip())
    return mine
threading.Thread(target=watch, daemon=True).start()
def go(path):
    clip = read(path)
    total = sum(int(chunk.shape[0]) for chunk in clip.motion.chunks(64, overlap=36))
    time.sleep(0.1)
    return clip.motion.num_frames, total
go(short)
before = dict(peaks)
num_frames, total = go(long)
grown = [peaks[one] - before.get(one, 0) for one in peaks]
print(json.dumps({"num_frames": num_frames, "total": total, "grown_mb": max(grown) / 1024, "processes": len(grown),
                  "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def test_a_minute_of_motion_takes_less_than_300_mb_in_every_process(make_video):
    short = make_video("short.mp4", seconds=[i / 30 for i in range(8)], size=(160, 284))
    long = make_video(
        "long.mp4", seconds=[i / 30 for i in range(1800)], size=(160, 284), options={"preset": "ultrafast", "crf": "40"}
    )
    found = json.loads(run(PEAK, short, long).stdout)
    assert found["num_frames"] == 1800
    assert found["processes"] >= 3  # this one, the nursery, the one that decodes
    assert found["grown_mb"] < 300, found


# ---- VQA²'s own numbers


def resized(frame_HWC: torch.Tensor, first: str) -> torch.Tensor:
    """To 384 x 384 by Pillow's bicubic filter, one side after the other."""
    image = Image.fromarray(frame_HWC.numpy())
    between = (384, image.height) if first == "width" else (image.width, 384)
    half = image.resize(between, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(half.resize((384, 384), Image.Resampling.BICUBIC)))


def slices(frames_FHWC: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    pixels = ((frames_FHWC / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    step = pixels.shape[-1] // like.shape[-1]
    return pixels[:, :, ::step, ::step]


def test_key_and_motion_frames_of_real_clips_are_vqa2s(vqa2, media):
    facts = json.loads((vqa2 / "videos.json").read_text())
    num_compared = 0
    for name, fact in facts.items():
        path = media / f"{name}.mp4"
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != fact["sha256"]:
            continue
        tensors = load_file(vqa2 / f"video_{name}.safetensors")
        expected = tensors["key_pixel_values_slice"]
        keys = dataclasses.replace(KEYS, resize=Resize(exact=True))
        is_wide = fact["width"] >= fact["height"]
        every = dataclasses.replace(MOTION, resize=Resize(exact=is_wide))
        clip = read_clip(path, ClipSpec(frames=keys, motion=every))
        assert len(clip.frames_FHWC) == len(fact["key_frame_indices"])
        assert clip.num_frames == fact["num_frames"]
        assert clip.motion.num_frames == fact["num_motion_frames"]
        # The numbers were made with Pillow 13, which resizes tall pictures height first; it was width up to 12, as here
        native = held(path, dataclasses.replace(KEYS, resize=Resize(mode="native")))
        orders = {first: torch.stack([resized(frame, first) for frame in native]) for first in ("width", "height")}
        assert torch.equal(clip.frames_FHWC, orders["width"])
        theirs = {first: (slices(frames, expected) - expected).abs().max() for first, frames in orders.items()}
        assert min(theirs.values()) < 2e-6
        assert max(theirs.values()) < 1.01 / 127.5
        means = torch.cat([(chunk / 255 - 0.5).div(0.5).double().mean((1, 2)) for chunk in clip.motion.chunks(40)])
        tolerance = 1e-6 if is_wide else 1e-3
        assert torch.allclose(means, tensors["motion_pixel_values_frame_mean"], atol=tolerance, rtol=0)
        num_compared += 1
    if not num_compared:
        pytest.skip("none of the reference clips is here (set EVQA_MEDIA)")


def test_resized_frames_are_vqa2s(vqa2):
    raw, pixels = np.load(vqa2 / "raw_frames.npz"), np.load(vqa2 / "pixels_u8.npz")
    videos = [name for name in pixels.files if name in raw.files]
    assert videos
    for name in videos:
        numbers = pixels[f"{name}_indices"] if f"{name}_indices" in pixels.files else range(len(raw[name]))
        resize = Resize(size=pixels[name].shape[-1], exact=True)
        for number, expected in zip(numbers, pixels[name], strict=True):
            found = resize.apply(torch.from_numpy(raw[name][number]))
            assert np.array_equal(found.permute(2, 0, 1).numpy(), expected), (name, number)


def test_the_time_allowed_grows_with_motion():
    assert SPEC.patience.timeout_seconds == 4 * SPEC.limits.timeout_seconds
    assert dataclasses.replace(SPEC, motion=None).patience == SPEC.limits
