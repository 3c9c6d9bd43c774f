"""Best-effort times and what is done about bad ones; what packets hold."""

from __future__ import annotations

import av
import pytest

from evqa.media.coded import what_packets_hold
from evqa.media.nal_units import Holds
from evqa.media.timeline import Stamp, best_effort, display_times, is_plausible


def stamps(*times: int | None) -> list[Stamp]:
    return [Stamp(time, time, 10) for time in times]


@pytest.mark.parametrize(
    ("given", "times"),
    [
        ((0, 10, 20, 30), [0, 10, 20, 30]),
        ((5, 15, 15, 35), [5, 15, 15, 35]),  # a repeat stays where the file says
        ((0, 10, None, 30), [0, 10, 20, 30]),
        ((None, None, 20, 30), [0, 10, 20, 30]),
        ((None, 40, 50, 60), [30, 40, 50, 60]),
        ((0, 10, 500, 30, 40), [0, 10, 20, 30, 40]),
        ((0, 10, -90, 30, 40), [0, 10, 20, 30, 40]),
        ((0, 10, 20, 0, 10, 20), [0, 10, 20, 30, 40, 50]),  # they start again
        ((0, 10, 20, None), [0, 10, 20, 30]),
        ((None, None, None), [0, 10, 20]),
        ((), []),
    ],
)
def test_only_the_bad_times_are_replaced(given, times):
    found = display_times(stamps(*given), usual_duration=10)
    assert [time - (found[0] - times[0]) for time in found] == times
    assert found == sorted(found)


def test_decoding_times_take_over_where_display_times_fail_as_in_ffmpeg():
    frames = [Stamp(0, 0, 1), Stamp(2, 1, 1), Stamp(2, 2, 1), Stamp(9, 3, 1), Stamp(None, 4, 1), Stamp(None, None, 1)]
    assert best_effort(frames) == [0, 2, 2, 3, 4, None]


@pytest.mark.parametrize(
    ("stamps", "is_good"),
    [
        ([], True),
        ([0, 30, 10, 20, 60, 40, 50], True),  # B frames
        ([0, 10, 10, 30], False),
        ([0, 10, 10_000, *range(30, 400, 10)], False),
        ([*range(0, 400, 10), *range(5, 400, 10)], False),
    ],
)
def test_times_are_taken_from_packets_only_where_they_are_all_different_and_in_place(stamps, is_good):
    assert is_plausible(stamps) is is_good


def bits(*codes: str) -> bytes:
    """Bytes of a stream of bits that ends as a NAL unit does."""
    joined = "".join(codes) + "1"
    joined += "0" * (-len(joined) % 8)
    return int(joined, 2).to_bytes(len(joined) // 8, "big")


def golomb(number: int) -> str:
    code = f"{number + 1:b}"
    return "0" * (len(code) - 1) + code


MAIN = f"{77:08b}" + "0" * 8 + f"{30:08b}" + golomb(0)
HIGH = (
    f"{100:08b}"
    + "0" * 8
    + f"{30:08b}"
    + golomb(0)
    + golomb(1)
    + golomb(0) * 2
    + "0"
    + "1"
    + "1"
    + golomb(0) * 16
    + "0" * 7
)
SIZES = golomb(2) + "0" + golomb(3) + golomb(2)
ORDER_0, ORDER_1 = golomb(0) + golomb(2), golomb(1) + "0" + golomb(1) * 2 + golomb(2) + golomb(3) * 2
FIELDS = [
    b"\x67" + bits(start, golomb(1), order, SIZES, "0", "0") for start in (MAIN, HIGH) for order in (ORDER_0, ORDER_1)
]
FRAMES = b"\x67" + bits(MAIN, golomb(1), ORDER_0, SIZES, "1")


def slice_of(frame: int, field: str = "") -> bytes:
    """A slice in a stream with five bits of frame number; `field` is 10 (top), 11 (bottom), 0 (a frame) or not said."""
    return b"\x41" + bits(golomb(0), golomb(7), golomb(0), f"{frame:05b}", field, "1010")


class Codec:
    def __init__(self, name: str, header: bytes = b"") -> None:
        self.codec, self.extradata = type("Codec", (), {"canonical_name": name}), header


def packet(*units: bytes) -> av.Packet:
    return av.Packet(b"".join(b"\0\0\1" + unit for unit in units))


def held(codec: Codec, *packets: av.Packet) -> list[str]:
    return [holds.name for holds in what_packets_hold(codec, packets)]


@pytest.mark.parametrize("parameters", FIELDS)
def test_two_fields_are_one_picture_wherever_they_lie(parameters):
    top, bottom = "10", "11"
    packets = [
        packet(parameters, slice_of(1, top)),
        packet(slice_of(1, bottom)),
        packet(slice_of(2, bottom)),
        packet(slice_of(2, top), slice_of(2, top)),
        packet(slice_of(3, top), slice_of(3, bottom)),  # both in one packet
        packet(slice_of(4, "0")),
        packet(slice_of(5, top)),
    ]
    expected = ["PICTURE", "REST", "PICTURE", "REST", "PICTURE", "PICTURE", "PICTURE"]
    assert held(Codec("h264"), *packets) == expected
    assert held(Codec("h264", b"\0\0\1" + parameters), *packets) == expected


def test_slices_of_streams_without_fields_are_not_looked_into():
    assert held(Codec("h264"), packet(FRAMES, slice_of(1, "10")), packet(slice_of(1, "11"))) == ["PICTURE", "PICTURE"]


@pytest.mark.parametrize(
    ("codec", "data", "holds"),
    [
        ("vp8", b"\x10\0\0", Holds.PICTURE),
        ("vp8", b"\x00\0\0", Holds.NOTHING),
        ("vp9", b"\x82\0\0", Holds.PICTURE),
        ("vp9", b"\x80\0\0", Holds.NOTHING),
        ("vp9", b"\x88", Holds.PICTURE),  # an existing frame
        ("vp9", b"\x80\0\x82\0\0\xc1\x02\x03\xc1", Holds.PICTURE),  # a hidden frame and a shown one
        ("vp9", b"\xb0\0\0", Holds.NOTHING),  # profile 3
        ("vp9", b"\xb1\0\0", Holds.PICTURE),
        ("av1", b"\x12\x00\x32\x02\x10\0", Holds.PICTURE),
        ("av1", b"\x12\x00\x32\x02\x00\0", Holds.NOTHING),
        ("av1", b"\x12\x00\x1a\x01\x80", Holds.PICTURE),  # an existing frame
        ("h264", b"\0\0\1\x06\x05", Holds.NOTHING),
        ("h264", b"\0\0\1\x09\xf0\0\0\1\x65\x88", Holds.PICTURE),
        ("hevc", b"\0\0\1\x4e\x01\x05", Holds.NOTHING),
        ("hevc", b"\0\0\1\x02\x01\x05", Holds.PICTURE),
        ("mpeg4", b"", Holds.PICTURE),
    ],
)
def test_packets_that_show_nothing_are_told_from_pictures(codec, data, holds):
    shown = {"vp8": b"\x10", "vp9": b"\x82", "av1": b"\x32\x01\x10", "h264": b"\0\0\1\x65", "hevc": b"\0\0\1\x26\x01"}
    packets = [av.Packet(shown.get(codec, b"\0")), av.Packet(data)]
    assert what_packets_hold(Codec(codec), packets) == [Holds.PICTURE, holds]


def test_leading_pictures_behind_a_first_open_keyframe_are_no_pictures():
    keyframe, leading, other = b"\x2a\x01\x80", b"\x10\x01\x80", b"\x02\x01\x80"
    packets = [packet(unit) for unit in (keyframe, leading, other, keyframe, leading)]
    assert held(Codec("hevc"), *packets) == ["PICTURE", "NOTHING", "PICTURE", "PICTURE", "PICTURE"]


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
def test_what_is_not_understood_counts_as_pictures(codec):
    assert held(Codec(codec), av.Packet(b"\xff\x02"), av.Packet(b"\xff")) == ["PICTURE", "PICTURE"]
