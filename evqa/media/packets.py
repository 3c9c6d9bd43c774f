"""Frames decoded from packets in memory: only what the frames asked for depend on, bit for bit the same pictures.

Three savings, none of which changes a pixel: pictures that no other picture refers to are dropped unless asked for,
groups of pictures without a frame asked for are skipped, and decoding stops after the last one.

Display times come from the packets where each picture has one of its own. Where one is missing, repeated or out of
place, the whole part to read is decoded first, because only decoded frames then tell when they come up.

# N frames of the video, H, W height and width, C channels
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from evqa.errors import MediaError
from evqa.media.coded import what_packets_hold
from evqa.media.demux import Track
from evqa.media.limits import Budget
from evqa.media.nal_units import Holds
from evqa.media.orientation import upright
from evqa.media.reader import Shot
from evqa.media.timeline import Stamp, display_times, is_plausible

_ASSUMED_FPS = 25.0  # where a file states neither times nor a rate
_AT_END = (None, Holds.PICTURE)  # makes the decoder give out what it held back


class PacketFrames:
    """A `FrameReader` over the packets of one demuxed video stream; one thread, no seeking.

    Where time stamps cannot be taken from the packets, frames are numbered as the decoder gives them out.
    """

    def __init__(self, track: Track, budget: Budget) -> None:
        self._packets = track.packets
        self._budget = budget
        self._codec = open_codec(track.stream, budget)
        self._time_base = track.stream.time_base
        self._reformatter = VideoReformatter()
        self._num_damaged = 0
        self.notes: list[str] = []
        self._holds = what_packets_hold(self._codec, self._packets)
        self._pictureless = {id(p) for p, holds in zip(self._packets, self._holds, strict=True) if not holds.is_coded}
        shown = [p for p, holds in zip(self._packets, self._holds, strict=True) if holds.is_new and not p.is_discard]
        has_times = any(packet.pts is not None or packet.dts is not None for packet in self._packets)
        self.average_fps = stated_fps(track.stream, has_times=has_times)
        stamps = [packet.pts for packet in shown if packet.pts is not None]
        self._is_timed = len(stamps) == len(shown) and is_plausible(stamps)
        self._stamps = sorted(stamps) if self._is_timed else self._decoded_stamps()
        self.start_seconds = float(self._stamps[0] * self._time_base) if self._stamps else 0.0
        self.seconds_N: Sequence[float] = self._display_seconds()
        self.end_seconds = self._end(shown)
        budget.check_seconds(self.end_seconds, what="picture")

    def frames(self, numbers: Sequence[int]) -> Iterator[Shot]:
        """Decode the frames with these numbers (sorted, different), in any order.

        Where damage is met on the way, every frame is given out again as decoding from the start shows it.
        """
        missing = set(numbers)
        if self._is_timed:
            for frame in self._decode_chosen({self._stamps[number] for number in numbers}):
                number = self._number(frame)
                missing.remove(number)
                yield self._shot(number, number, frame)
        if missing or self._num_damaged:
            self._restart()
            self._num_damaged = 0
            yield from self._decode_everything(numbers)
        if self._num_damaged:
            self.notes.append(f"damaged places in the picture, skipped or patched: {self._num_damaged}")

    def _decoded_stamps(self) -> list[int]:
        """Decode all packets to learn when each frame comes up."""
        stamps = [Stamp(frame.pts, frame.dts, frame.duration) for frame in self._all_frames()]
        self._restart()
        self._num_damaged = 0
        return display_times(stamps, usual_duration=round(1 / (self._fps * self._time_base)))

    @property
    def _fps(self) -> float:
        return self.average_fps or _ASSUMED_FPS

    def _display_seconds(self) -> list[float]:
        first, base = self._stamps[0] if self._stamps else 0, self._time_base
        # whole numbers: rounded once, as the fraction would be, and ten times as fast
        return [(stamp - first) * base.numerator / base.denominator for stamp in self._stamps]

    def _end(self, shown: Sequence[Packet[Any]]) -> float:
        if not self._stamps:
            return 0.0
        last = max(shown, key=lambda packet: packet.pts or 0) if self._is_timed else shown[-1]
        seconds = float((last.duration or 0) * self._time_base)
        return self.seconds_N[-1] + (seconds or 1.0 / self._fps)

    # the fast way

    def _decode_chosen(self, targets: set[int]) -> Iterator[VideoFrame]:
        """Frames whose time stamp is in `targets`, each once; those that do not appear are left to the slow way."""
        waiting = set(targets)
        for start, end in self._groups(targets):
            self._restart()
            is_target, was_target = True, None
            for packet, holds in [*zip(self._packets[start:end], self._holds[start:end], strict=True), _AT_END]:
                if holds.is_new:  # else what the packet has belongs to the picture before
                    is_target = packet is None or packet.pts in targets
                if is_target != was_target:
                    self._codec.skip_frame = "DEFAULT" if is_target else "NONREF"
                    was_target = is_target
                for frame in self._decode(packet):
                    if frame.pts in waiting:
                        waiting.remove(frame.pts)
                        yield frame
                if self._num_damaged:
                    return

    def _groups(self, targets: set[int]) -> list[tuple[int, int]]:
        """Ranges of packets to decode: from a keyframe to the last packet asked for before the next keyframe."""
        starts = [i for i, packet in enumerate(self._packets) if packet.is_keyframe or i == 0]
        ranges: dict[int, int] = {}
        for i, packet in enumerate(self._packets):
            if packet.pts not in targets or not self._holds[i].is_new:
                continue
            group = bisect_right(starts, i) - 1
            ranges[starts[group]] = self._end_of_picture(i)
            if group > 0 and self._leads(packet, self._packets[starts[group]]):
                ranges[starts[group - 1]] = starts[group]
        return _joined(sorted(ranges.items()))

    def _end_of_picture(self, start: int) -> int:
        rest = range(start + 1, len(self._packets))
        return next((i for i in rest if self._holds[i].is_new), len(self._packets))

    @staticmethod
    def _leads(packet: Packet[Any], keyframe: Packet[Any]) -> bool:
        # shown before the keyframe that it follows in the file: it also refers to the group before (open group)
        return keyframe.pts is None or packet.pts is None or packet.pts < keyframe.pts

    def _restart(self) -> None:
        """Make a drained decoder ready for another start; it would forget how many pictures may be reordered."""
        depth = self._codec.reorder_depth
        self._codec.flush_buffers()
        self._codec.reorder_depth = depth

    # the slow way

    def _decode_everything(self, numbers: Sequence[int]) -> Iterator[Shot]:
        """Decode from the start; a frame that does not appear is replaced by the picture on display at its time."""
        self._codec.skip_frame = "DEFAULT"
        waiting = list(numbers)
        previous: tuple[int, VideoFrame] | None = None
        for count, frame in enumerate(self._all_frames()):
            number = self._number(frame) if self._is_timed else count
            while waiting and waiting[0] < number:
                yield self._shot(waiting.pop(0), *(previous or (number, frame)))
            if waiting and waiting[0] == number:
                yield self._shot(waiting.pop(0), number, frame)
            if not waiting:
                return
            previous = (number, frame)
        if previous is not None:
            for number in waiting:
                yield self._shot(number, *previous)

    def _all_frames(self) -> Iterator[VideoFrame]:
        for packet in [*self._packets, None]:
            yield from self._decode(packet)

    def _number(self, frame: VideoFrame) -> int:
        stamp = self._stamps[0] if frame.pts is None else frame.pts
        return min(bisect_left(self._stamps, stamp), len(self._stamps) - 1)

    # both

    def _decode(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        self._budget.check_time()
        try:
            frames: list[VideoFrame] = self._codec.decode(packet)
        except av.FFmpegError:
            self._num_damaged += packet is not None and id(packet) not in self._pictureless
            return []
        self._num_damaged += sum(frame.is_corrupt for frame in frames)
        return frames

    def _shot(self, number: int, shown_number: int, frame: VideoFrame) -> Shot:
        self._budget.check_picture(frame.width, frame.height)
        shown_number = min(shown_number, len(self.seconds_N) - 1)
        return Shot(number=number, seconds=self.seconds_N[shown_number], rgb_HWC=upright(frame, self._to_rgb))

    def _to_rgb(self, frame: VideoFrame) -> NDArray[Any]:
        return self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()


def open_codec(stream: Any, budget: Budget) -> Any:
    """Open a video stream's decoder; it has one thread and refuses pictures beyond the limit before it allocates.

    Raises:
        MediaError: no decoder, a declared size beyond the limit, or a decoder that does not accept the stream's header.
    """
    codec = stream.codec_context
    if codec is None:
        budget.refuse("has a video track in a format that no decoder here reads; convert it to H.264")
    budget.check_picture(codec.width, codec.height)
    if codec.is_open:
        return codec
    codec.thread_count = 1  # one clip a worker; frame threads would also delay the skip flag
    codec.options = {"max_pixels": str(budget.limits.max_pixels)}
    try:
        codec.open()  # now, because some decoders (dav1d) would make the first packet's skip flag permanent
    except av.FFmpegError as error:
        raise MediaError(budget.path, "has a video track that its decoder refuses; it is damaged") from error
    return codec


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges of packets that touch, so that the decoder runs through."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and joined[-1][1] >= start:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def stated_fps(stream: Any, *, has_times: bool) -> float:
    """Average frame rate as the container states it, 0 where it does not.

    has_times: whether packets have time stamps. A raw stream has none, and no container: its own headers count.
    """
    return float((None if has_times else stream.guessed_rate) or stream.average_rate or 0.0)
