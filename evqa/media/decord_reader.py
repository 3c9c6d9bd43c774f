"""Frames through decord, the reader of the published code; kept for comparison.

decord decodes every picture, needs a duration in the container, cannot read AV1, gives up at the first damaged packet
and allocates whatever size a stream asks for. Use the reader `packets` for files that you do not trust.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evqa.errors import MissingDependencyError
from evqa.media.limits import Budget
from evqa.media.reader import Shot, UnreadableError


class DecordFrames:
    """A `FrameReader` over decord 0.6; one thread, opened for one clip (it survives neither forks nor threads)."""

    def __init__(self, budget: Budget) -> None:
        """Open a video.

        Raises:
            UnreadableError: decord cannot read the file.
        """
        self._budget = budget
        self.notes: list[str] = []
        decord = _quiet_decord()
        self._errors = (decord.DECORDError, RuntimeError, IndexError, StopIteration)
        try:
            self._video = decord.VideoReader(str(budget.path.absolute()), ctx=decord.cpu(0), num_threads=1)
            spans = self._video.get_frame_timestamp(range(len(self._video)))
        except self._errors as error:
            raise UnreadableError(str(error)) from error
        self.start_seconds = float(spans[0, 0])
        self.seconds_N: Sequence[float] = [float(start - spans[0, 0]) for start in spans[:, 0]]
        self.end_seconds = float(spans[-1, 1] - spans[0, 0])
        self.average_fps = float(self._video.get_avg_fps())
        budget.check_seconds(self.end_seconds, what="picture")

    def frames(self, numbers: Sequence[int]) -> Iterator[Shot]:
        """Decode the frames with these numbers, in order.

        Raises:
            UnreadableError: a frame does not decode.
        """
        for number in numbers:
            self._budget.check_time()
            try:
                rgb = self._video[number].asnumpy()
            except self._errors as error:
                raise UnreadableError(str(error)) from error
            yield Shot(number=number, seconds=self.seconds_N[number], rgb_HWC=rgb)


def _quiet_decord():  # type: ignore[no-untyped-def]  # noqa: ANN202  # decord has no types
    try:
        import decord
    except ImportError as error:
        raise MissingDependencyError("reader=decord needs decord: pip install decord, or use reader=packets") from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord
