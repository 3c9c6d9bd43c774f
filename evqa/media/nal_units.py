"""What packets of H.264 and HEVC hold, found from the headers of their NAL units."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

Bytes = bytes | memoryview
_START_CODE = b"\0\0\1"
_HEADER_BYTES = 64  # enough of a slice to find out whether it is a field


class Holds(Enum):
    """What a packet adds to what is shown."""

    PICTURE = "a new picture"
    REST = "the second field of a picture"
    NOTHING = "no picture"

    @property
    def is_new(self) -> bool:
        """Whether a picture that is shown begins here."""
        return self is Holds.PICTURE

    @property
    def is_coded(self) -> bool:
        """Whether there is something to decode, so that an error means damage."""
        return self is not Holds.NOTHING


def _units(data: Bytes, length_bytes: int) -> Iterator[Bytes]:
    """NAL units with a length before each (MP4, Matroska), or behind start codes (`length_bytes` 0)."""
    if not length_bytes:
        yield from filter(None, bytes(data).split(_START_CODE)[1:])
        return
    start = length_bytes
    while start < len(data):
        end = start + int.from_bytes(data[start - length_bytes : start], "big")
        if end > len(data):
            raise ValueError("a unit longer than its packet")
        if end > start:
            yield data[start:end]
        start = end + length_bytes


_H264_MESSAGES = frozenset(range(6, 16))  # and parameters, delimiters, filler


class H264:
    """ITU-T H.264, 7.3: a field says so in its slice header. What is no message counts as a slice, damaged or not."""

    def __init__(self, header: bytes) -> None:
        is_avcc = header[:1] == b"\1" and len(header) > 6
        self._length_bytes = (header[4] & 3) + 1 if is_avcc else 0
        self._field_bit: int | None = None  # bits of frame_num and colour plane before field_pic_flag
        self._waits_for: tuple[int, bool] | None = None  # frame_num and parity of the field that completes a picture
        for unit in _avcc_units(header) if is_avcc else _units(header, 0):
            self._note_parameters(unit)

    def holds(self, data: Bytes) -> Holds:
        """Inspect the next packet in decoding order."""
        result = Holds.NOTHING
        for unit in _units(data, self._length_bytes):
            kind = unit[0] & 159
            if kind == 7:
                self._note_parameters(unit)
            if kind in _H264_MESSAGES:
                continue
            field = self._field(unit)
            if field is None:
                self._waits_for = None
                return Holds.PICTURE
            if field == self._waits_for:
                self._waits_for = None
                return Holds.REST if result is Holds.NOTHING else Holds.PICTURE
            if result is Holds.NOTHING:
                result = Holds.PICTURE
                self._waits_for = (field[0], not field[1])
        return result

    def _note_parameters(self, unit: Bytes) -> None:
        if unit[0] & 31 == 7:
            self._field_bit = _bits_before_field_flag(unit)

    def _field(self, unit: Bytes) -> tuple[int, bool] | None:
        """Return frame_num and whether it is the bottom field; None for a whole frame."""
        if self._field_bit is None:
            return None
        bits = _Bits(unit[1:_HEADER_BYTES])
        for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
            bits.exp_golomb()
        frame_number = bits.take(self._field_bit)
        return (frame_number, bool(bits.take(1))) if bits.take(1) else None


def _avcc_units(header: bytes) -> Iterator[bytes]:
    """Sequence parameter sets of an MP4 header (ISO/IEC 14496-15, avcC)."""
    start = 6
    for _ in range(header[5] & 31):
        size = int.from_bytes(header[start : start + 2], "big")
        if size:
            yield header[start + 2 : start + 2 + size]
        start += 2 + size


_WITH_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


def _bits_before_field_flag(unit: Bytes) -> int | None:
    """Width of what lies between a slice's third number and its field flag; None where all pictures are frames."""
    try:
        return _parse_sequence_parameters(_Bits(unit[1:]))
    except IndexError:
        return None


def _parse_sequence_parameters(bits: _Bits) -> int | None:
    profile = bits.take(8)
    bits.take(16)
    bits.exp_golomb()
    planes = 0
    if profile in _WITH_CHROMA_FORMAT:
        planes = _skip_chroma_format(bits)
    frame_number_bits = bits.exp_golomb() + 4
    order_type = bits.exp_golomb()
    if order_type == 0:
        bits.exp_golomb()
    elif order_type == 1:
        bits.take(1)
        bits.skip_exp_golombs(2)
        bits.skip_exp_golombs(bits.exp_golomb())
    bits.skip_exp_golombs(1)  # reference frames
    bits.take(1)
    bits.skip_exp_golombs(2)  # width and height
    only_frames = bits.take(1)
    return None if only_frames else frame_number_bits + planes


def _skip_chroma_format(bits: _Bits) -> int:
    """Return the width of a slice's colour plane, mostly 0."""
    chroma_format = bits.exp_golomb()
    planes = 2 * bits.take(1) if chroma_format == 3 else 0
    bits.skip_exp_golombs(2)  # bit depths
    bits.take(1)
    if bits.take(1):  # scaling lists
        for number in range(12 if chroma_format == 3 else 8):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return planes


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.exp_golomb()
            following = (last + (code + 1 >> 1 if code & 1 else -(code >> 1))) % 256
        last = following or last


class _Bits:
    """Bits of a NAL unit's content; raises IndexError where they end."""

    def __init__(self, content: Bytes) -> None:
        plain = bytes(content).replace(b"\0\0\3", b"\0\0")  # emulation prevention
        self._bits = "".join(f"{byte:08b}" for byte in plain)
        self._at = 0

    def take(self, count: int) -> int:
        """Read an unsigned number."""
        self._at += count
        if self._at > len(self._bits):
            raise IndexError("no more bits")
        return int(self._bits[self._at - count : self._at] or "0", 2)

    def exp_golomb(self) -> int:
        """Read an unsigned Exp-Golomb code (9.1)."""
        zeros = self._bits.find("1", self._at) - self._at
        if zeros < 0:
            raise IndexError("no more bits")
        self._at += zeros
        return self.take(zeros + 1) - 1

    def skip_exp_golombs(self, count: int) -> None:
        """Pass over signed or unsigned codes."""
        for _ in range(count):
            self.exp_golomb()


class Hevc:
    """ITU-T H.265, 7.4.2.2: slices are types 0 to 31; leading ones cannot be decoded behind a first open keyframe."""

    def __init__(self, header: bytes) -> None:
        is_hvcc = header[:1] == b"\1" and len(header) > 22
        self._length_bytes = (header[21] & 3) + 1 if is_hvcc else 0
        self._has_begun = self._drops_leading = False

    def holds(self, data: Bytes) -> Holds:
        """Inspect the next packet in decoding order."""
        for unit in _units(data, self._length_bytes):
            kind, layer = unit[0] >> 1, (unit[0] & 1) << 5 | unit[1] >> 3
            if 31 < kind < 64 or layer:
                continue
            if kind >= 16:
                self._drops_leading = kind <= 18 or (kind == 21 and not self._has_begun)  # BLA, or CRA at the start
            self._has_begun = True
            is_lost = kind in (8, 9) and self._drops_leading  # RASL
            return Holds.NOTHING if is_lost else Holds.PICTURE
        return Holds.NOTHING
