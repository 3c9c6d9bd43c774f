"""Which sound is read, when, and how its channels are mixed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from evqa.machine.isolated import map_isolated
from evqa.media.audio import AudioWindow
from evqa.media.clip import ClipSpec, read_clip
from evqa.media.layout import is_safe_to_decode
from evqa.media.priming import drop_as_published
from evqa.media.probe import probe
from evqa.types import Clip

WHOLE = ClipSpec(audio=AudioWindow(policy="whole"))
RATE = 16_000
TONE = np.sin(np.arange(2 * RATE) * (2 * np.pi * 440 / RATE)) / 2


def write_tracks(path: Path, *tracks: np.ndarray, codec: str = "pcm_s16le", layout: str = "mono") -> Path:
    """Write tracks of float samples (channels first; an empty one gets no packet), the first one as the default."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=RATE, layout=layout) for _ in tracks]
        for number, stream in enumerate(streams):
            stream.disposition = av.stream.Disposition.default if number == 0 else av.stream.Disposition(0)
        for stream, samples_CS in zip(streams, tracks, strict=True):
            if samples_CS.size:
                packets = [
                    packet
                    for start in range(0, samples_CS.shape[1], 1024)
                    for packet in encode(stream, samples_CS, start)
                ]
                container.mux([*packets, *stream.encode(None)])
    return path


def encode(stream, samples_CS: np.ndarray, start: int) -> list:
    block = np.ascontiguousarray(samples_CS[:, start : start + 1024], dtype=np.float32)
    frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=stream.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
    return stream.encode(frame)


def loudness(path: Path) -> float:
    """How loud a file is; importable, because the layouts below once ended the process that read them."""
    assert probe(path).audio_channels == 6
    waveform_S = read_clip(path, WHOLE).waveform_S
    assert waveform_S is not None
    assert waveform_S.numel() == TONE.size
    return waveform_S.square().mean().sqrt().item()


# QuickTime's layout tags: six channels in FFmpeg's order, and in two orders of their own
FRONT_LEFT, CENTRE, EFFECTS = "FL", "FC", "LFE"
ORDERS = {
    121 << 16 | 6: ["FL", "FR", "FC", "LFE", "SL", "SR"],
    122 << 16 | 6: ["FL", "FR", "SL", "SR", "FC", "LFE"],
    124 << 16 | 6: ["FC", "FL", "FR", "SL", "SR", "LFE"],
}


def test_channels_in_any_order_are_mixed_by_their_names_and_crash_nothing(tmp_path: Path):
    paths = {}
    for tag, names in ORDERS.items():
        for heard in (FRONT_LEFT, CENTRE, EFFECTS):
            samples_CS = np.zeros((6, TONE.size))
            samples_CS[names.index(heard)] = TONE
            path = write_tracks(tmp_path / f"{tag}_{heard}.mov", samples_CS, layout="5.1(side)")
            data = bytearray(path.read_bytes())
            at = data.index(b"chan") + 8
            data[at : at + 4] = tag.to_bytes(4, "big")
            path.write_bytes(bytes(data))
            paths[tag, heard] = path
    outcomes = list(map_isolated(loudness, list(paths.values()), num_workers=1, seconds=60.0))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    found = {key: outcomes[[o.index for o in outcomes].index(i)].value for i, key in enumerate(paths)}
    for heard in (FRONT_LEFT, CENTRE, EFFECTS):
        assert len({round(found[tag, heard], 3) for tag in ORDERS}) == 1, heard
    assert found[122 << 16 | 6, EFFECTS] == 0.0  # a mix to mono leaves that channel out
    assert found[122 << 16 | 6, CENTRE] > 1.2 * found[122 << 16 | 6, FRONT_LEFT] > 0.01


def make_hole(path: Path, start: float, end: float, *, codec: str = "aac") -> Path:
    """Four seconds of tone without the packets of a part of them."""
    tone = np.concatenate([TONE, TONE])[None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        packets = [p for at in range(0, tone.shape[1], 1024) for p in encode(stream, tone, at)]
        for packet in [*packets, *stream.encode(None)]:
            if not start <= float(packet.pts * packet.time_base) < end:
                container.mux(packet)
    return path


def silent_part(clip: Clip) -> tuple[float, float]:
    quiet = (clip.waveform_S.reshape(-1, 160).abs().amax(1) < 1e-3).nonzero()[:, 0] / 100
    quiet = quiet[quiet > 0.2]  # behind the encoder's delay
    return quiet[0].item(), quiet[-1].item()


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.flv"])
def test_a_hole_in_the_sound_is_read_as_silence_so_that_the_rest_keeps_its_time(name, tmp_path: Path):
    path = make_hole(tmp_path / name, 0.5, 3.0)
    clip = read_clip(path, ClipSpec(audio=AudioWindow(seconds=4.0)))
    assert "the sound has holes of 2.5 s together, which are read as silence" in clip.missing
    assert silent_part(clip) == pytest.approx((0.5, 3.0), abs=0.15)
    start = read_clip(path, ClipSpec(audio=AudioWindow(seconds=2.0)))
    assert start.waveform_S.numel() == 32_000


def test_the_published_eight_clips_leave_holes_out_and_say_so(tmp_path: Path):
    clip = read_clip(make_hole(tmp_path / "a.mkv", 0.5, 3.0), ClipSpec(audio=AudioWindow(policy="clips_8x2")))
    assert "the sound has holes of 2.5 s together, which are left out, as in the published code" in clip.missing
    assert clip.waveform_S.abs().reshape(-1, 400).amax(1).min() > 0.1 or clip.waveform_S.numel() < 8 * 32_000


def test_one_odd_stamp_in_the_sound_makes_no_hole(tmp_path: Path):
    plain = write_tracks(tmp_path / "a.mkv", TONE[None], codec="aac")
    odd = tmp_path / "b.mkv"
    with av.open(str(plain)) as read, av.open(str(odd), "w") as written:
        copy = written.add_stream_from_template(read.streams.audio[0])
        for number, packet in enumerate(p for p in read.demux() if p.size):
            packet.stream = copy
            if number == 10:
                packet.pts += 700  # ms
            written.mux(packet)
    clip = read_clip(odd, WHOLE)
    assert clip.missing == ()
    assert clip.waveform_S.equal(read_clip(plain, WHOLE).waveform_S)


def test_of_several_tracks_the_first_with_sound_is_read(tmp_path: Path):
    nothing = np.zeros((1, 0))
    loud, quiet = TONE[None], TONE[None] / 8
    both = read_clip(write_tracks(tmp_path / "a.mkv", loud, quiet), WHOLE)
    assert (both.missing, both.waveform_S.abs().max() > 0.4) == ((), True)
    second = read_clip(write_tracks(tmp_path / "b.mkv", nothing, quiet), WHOLE)
    assert second.missing == ("the default audio track holds no sound; track 1 is read instead",)
    assert 0.04 < second.waveform_S.abs().max() < 0.1
    assert probe(tmp_path / "b.mkv").audio_seconds == pytest.approx(2.0, abs=0.1)


class Codec:
    def __init__(self, name: str, header: bytes = b"", profile: str | None = None) -> None:
        self.name, self.extradata, self.profile = name, header, profile


@pytest.mark.parametrize(
    ("codec", "is_safe"),
    [
        (Codec("flac"), True),
        (Codec("opus", b"OpusHead" + bytes(10) + b"\x01"), True),
        (Codec("opus", b"OpusHead" + bytes(10) + b"\x02"), False),
        (Codec("aac", bytes([0x12, 0x10])), True),  # AAC-LC
        (Codec("aac", bytes([0xF9, 0x48, 0x40])), True),  # USAC, stereo
        (Codec("aac", bytes([0xF9, 0x48, 0x00])), False),  # USAC, channels listed in the stream
    ],
)
def test_decoders_that_list_channels_themselves_wait_for_a_pyav_that_can_hold_that(codec, is_safe, monkeypatch):
    monkeypatch.setattr("evqa.media.layout.PYAV_VERSION", 18)
    assert is_safe_to_decode(codec) is is_safe
    monkeypatch.setattr("evqa.media.layout.PYAV_VERSION", 19)
    assert is_safe_to_decode(codec)


class Stream:
    def __init__(self, container: str, codec: Codec) -> None:
        self.codec_context = codec
        self.container = type("Container", (), {"format": type("Format", (), {"name": container})})


@pytest.mark.parametrize(
    ("container", "codec", "samples"),
    [
        ("mov,mp4,m4a,3gp,3g2,mj2", Codec("aac", profile="LC"), 1024),
        ("mov,mp4,m4a,3gp,3g2,mj2", Codec("aac", profile="HE-AACv2"), 2048),
        ("matroska,webm", Codec("aac", profile="LC"), 0),
        ("matroska,webm", Codec("mp3float"), 0),
        ("matroska,webm", Codec("opus"), 1024),
    ],
)
def test_priming_samples_are_dropped_as_the_published_codes_ffmpeg_does(container, codec, samples, tmp_path: Path):
    path = write_tracks(tmp_path / "a.mp4", TONE[None], codec="aac")
    with av.open(str(path)) as read:
        packet = next(read.demux())
        assert int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little") == 1024
        drop_as_published(packet, Stream(container, codec))
        assert int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little") == samples
