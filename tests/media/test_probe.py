"""What is known of a file before it is used."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from evqa.files.content import content_hash
from evqa.media.probe import probe


def test_a_video_with_sound_is_described(make_video):
    info = probe(make_video(tone_seconds=2.0, tone_channels="stereo"))
    assert (info.width, info.height, info.rotation) == (96, 64, 0)
    assert (info.num_frames, info.video_codec, info.audio_codec) == (60, "h264", "aac")
    assert (info.audio_rate_hz, info.audio_channels) == (44_100, 2)
    assert info.has_audio
    assert info.fps == pytest.approx(30.0)
    assert info.duration == pytest.approx(2.0, abs=0.02)
    assert info.audio_seconds == pytest.approx(2.0, abs=0.05)


def test_a_rotated_video_is_described_upright_and_silence_as_none(make_video):
    info = probe(make_video(rotation=90))
    assert (info.width, info.height, info.rotation) == (64, 96, 90)
    assert not info.has_audio
    assert info.audio_rate_hz is None


def test_the_hash_is_of_the_content_alone(make_video, tmp_path: Path):
    path = make_video()
    other = tmp_path / "other.mp4"
    other.write_bytes(path.read_bytes())
    assert content_hash(path) == content_hash(other) == hashlib.sha256(path.read_bytes()).hexdigest()
    other.write_bytes(path.read_bytes() + b"\0")
    assert content_hash(path) != content_hash(other)


def test_real_files_are_described_as_ffprobe_does(media: Path):
    with (media / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        info = probe(media / row["file"])
        assert info.video_codec == row["codec"], row["file"]
        assert (info.audio_codec or "") == row["audio_codec"], row["file"]
        assert str(info.audio_rate_hz or "") == row["audio_rate"], row["file"]
        assert content_hash(media / row["file"]) == row["sha256"]
        if row["file"] == "nasa_13013.mp4":
            continue  # that row describes another one of its video streams
        size = (int(row["width"]), int(row["height"]))
        assert (info.width, info.height) == (size if row["rotation"] in ("0", "-180") else size[::-1]), row["file"]
        assert str(info.rotation) == row["rotation"], row["file"]
        assert info.num_frames == int(row["frames"]), row["file"]
        assert info.fps == pytest.approx(float(row["fps_avg"]), abs=1e-3), row["file"]


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "link"])
def test_only_files_are_hashed(tmp_path, place):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not a regular file"):
        content_hash(tmp_path / place)


def test_a_still_image_is_described_as_a_video_of_one_frame(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    found = probe(tmp_path / "a.jpg")
    assert (found.width, found.height, found.num_frames, found.duration) == (20, 30, 1, 0.0)
    assert (found.video_codec, found.audio_codec) == ("jpeg", None)
