"""Broken and hostile files end in frames or in one sentence: no crash, no hang, no memory, no noise."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evqa.errors import MediaError
from evqa.media.audio import AudioWindow
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.limits import Limits
from evqa.media.probe import probe
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling

SPEC = ClipSpec(frames=FrameStream(sampling=FrameSampling(), resize=Resize(size=32)), audio=AudioWindow())
SECONDS, MEBIBYTES = 20, 2048

# Reads every file named on the command line under a limit of 2 GiB of memory; one JSON line a file.
READ_ALL = """
import json, resource, sys, time
from pathlib import Path
from evqa.errors import MediaError
from evqa.media.audio import AudioWindow
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.sampling import FrameSampling
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
for path in sys.argv[1:]:
    for policy, window in (("first_n_seconds", "first_n_seconds"), ("uniform", "whole")):
        spec = ClipSpec(frames=FrameStream(sampling=FrameSampling(policy=policy)), audio=AudioWindow(policy=window))
        start = time.monotonic()
        try:
            clip = read_clip(Path(path), spec)
            result = {"frames": list(clip.frames_FHWC.shape), "missing": clip.missing}
        except MediaError as error:
            result = {"reason": error.reason}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        result |= {"file": Path(path).name, "seconds": time.monotonic() - start, "mebibytes": peak}
        print(json.dumps(result))
"""


def refuse(path: Path, spec: ClipSpec = SPEC) -> str:
    with pytest.raises(MediaError) as caught:
        read_clip(path, spec)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


def test_every_broken_sample_gives_frames_or_a_sentence_in_time_and_memory(media: Path):
    with (media / "bad/manifest.csv").open(newline="", encoding="utf-8") as file:
        expected = {row["file"]: row["expect"] for row in csv.DictReader(file)}
    paths = [str(media / "bad" / name) for name in expected]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", READ_ALL, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 2 * len(expected)
    for result in results:
        assert result["seconds"] < SECONDS, result
        assert result["mebibytes"] < MEBIBYTES, result
        if "frames" in result:
            assert result["frames"] == [8, 384, 384, 3]
            assert expected[result["file"]] != "reject", result
        else:
            assert not expected[result["file"]].startswith("ok"), result
            assert re.fullmatch(r"(is|has|cannot|took) [^\[\]]+", result["reason"]), result


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty (0 bytes); download or copy it again"),
        (b"hello\n" * 200, "is not a video or audio file in a known format, or its header is damaged"),
        (bytes(range(256)) * 40, "is not a video or audio file in a known format, or its header is damaged"),
        (
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
            "is an MP4 file whose index (moov box) is missing or damaged, as after a broken download; fetch it again",
        ),
    ],
)
def test_what_is_no_video_is_refused_with_what_to_do(content, reason, tmp_path: Path):
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    assert refuse(path) == reason
    with pytest.raises(MediaError, match=re.escape(reason)):
        probe(path)


def test_missing_files_folders_and_pipes_are_refused_without_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refuse(tmp_path / "absent.mp4") == "cannot be opened: no such file or directory"
    assert refuse(tmp_path) == "is not a regular file but a folder or a device"
    assert refuse(tmp_path / "pipe.mp4") == "is not a regular file but a folder or a device"


@pytest.mark.parametrize("script", ["#EXTM3U\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"])
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_a_file_that_names_other_files_does_not_get_them_read(script, name, make_video, tmp_path: Path):
    path = tmp_path / name
    path.write_text(script.format(make_video("secret.ts")))
    assert refuse(path) == "is not a video or audio file in a known format, or its header is damaged"


def test_names_that_look_like_options_or_addresses_are_just_names(make_video, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video("plain.mp4")
    for name in ("-i.mp4", "http:name.mp4", "concat:a|b.mp4", "ünïcødé & 视频 '1'.mp4", "none"):
        (tmp_path / name).write_bytes((tmp_path / "plain.mp4").read_bytes())
        assert read_clip(Path(name), SPEC).frames_FHWC.shape == (8, 32, 32, 3)


def limited(**limits: float) -> ClipSpec:
    return ClipSpec(frames=FrameStream(sampling=FrameSampling()), audio=AudioWindow(), limits=Limits(**limits))


def test_limits_are_kept_and_named(make_video):
    path = make_video(tone_seconds=2.0)
    assert refuse(path, limited(max_pixels=1000)) == (
        "has pictures of 96x64 pixels, more than the 1000 pixels allowed; "
        "scale the video down or raise data.limits.max_pixels"
    )
    assert refuse(path, limited(max_packets=10)) == "has more than 10 packets to read; raise data.limits.max_packets"
    assert refuse(path, limited(max_bytes=1 << 10)).startswith("has more than 0 MiB of compressed data to read; cut it")
    assert refuse(path, limited(max_seconds=1.5)).startswith("has 2 s of picture to read, more than the 1.5 s allowed")
    heard = ClipSpec(audio=AudioWindow(), limits=Limits(max_seconds=1.5))
    assert re.match(r"has \d s of sound to read, more than the 1.5 s allowed; cut it", refuse(path, heard))


def test_the_time_limit_works_without_signals(make_video):
    path = make_video(seconds=[i / 15 for i in range(120)], size=(640, 360), options={"preset": "ultrafast"})
    start = time.monotonic()
    reason = refuse(path, limited(timeout_seconds=0.02))
    assert reason == "took more than 0.02 s to read and was given up; raise data.limits.timeout_seconds"
    assert time.monotonic() - start < 5.0


def test_a_decoder_never_allocates_a_size_that_only_the_stream_states(make_video):
    # The header says 96x64; the stream's own parameters say 640x480.
    large = make_video("large.mp4", seconds=[0.0, 0.1], size=(640, 480))
    data = large.read_bytes()
    at = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
    assert data[at : at + 4] == bytes([2, 128, 1, 224])
    data = data[:at] + bytes([0, 96, 0, 64]) + data[at + 4 :]
    large.write_bytes(data)
    reason = refuse(large, limited(max_pixels=100_000))
    assert reason.startswith(("has pictures of 640x480 pixels", "has a video track of which no picture can be decoded"))


def test_a_file_that_is_cut_off_says_so(make_video):
    path = make_video(tone_seconds=2.0)
    data = path.read_bytes()
    moov, mdat = data.index(b"moov") - 4, data.index(b"mdat") - 4
    assert mdat < moov
    index = bytearray(data[moov:])
    for table in (match.start() for match in re.finditer(b"stco", data[moov:])):
        for entry in range(table + 12, table + 12 + 4 * int.from_bytes(index[table + 8 : table + 12], "big"), 4):
            moved = int.from_bytes(index[entry : entry + 4], "big") + len(index)
            index[entry : entry + 4] = moved.to_bytes(4, "big")
    front_loaded = data[:mdat] + bytes(index) + data[mdat:moov]
    path.write_bytes(front_loaded)
    assert read_clip(path, SPEC).missing[0] == "the video lasts 2.0 s, shorter than the 8 s asked for"
    path.write_bytes(front_loaded[: -(moov - mdat) // 2])
    clip = read_clip(path, SPEC)
    assert clip.frames_FHWC.shape == (8, 32, 32, 3)
    assert clip.missing[0] == "the file is cut off; only the part that is there is used"
