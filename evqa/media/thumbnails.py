"""A small picture of a media file: a frame of its middle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from evqa.errors import MediaError
from evqa.media.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JPEG_QUALITY = 80


def small_picture(path: Path, limits: Limits, *, max_pixels: int) -> NDArray[np.uint8]:
    """Read one frame of a file [H, W, 3], of its middle, of `max_pixels` at most; a still image is its own frame.

    The file is read in a process of its own.

    Raises:
        MediaError: the file shows no picture.
    """
    from evqa.media.clip import ClipSpec, FrameStream
    from evqa.media.decoding import decode_isolated
    from evqa.media.resize import Resize
    from evqa.media.sampling import FrameSampling

    small = Resize(mode="budget", multiple=8, min_pixels=max_pixels // 2, max_pixels=max_pixels)
    stream = FrameStream(sampling=FrameSampling(policy="uniform", count=1), resize=small)
    clip = decode_isolated(path, ClipSpec(frames=stream, limits=limits))
    if isinstance(clip, str) or clip.frames_FHWC is None:
        raise MediaError(path, clip if isinstance(clip, str) else "has no picture")
    return clip.frames_FHWC[0].numpy()


def jpeg_thumbnail(path: Path, limits: Limits, *, width: int, max_height: int) -> bytes:
    """Make a JPEG of a file's middle frame that fits into these sides, in its own aspect ratio.

    Raises:
        MediaError: as `small_picture`.
    """
    from PIL import Image

    image = Image.fromarray(small_picture(path, limits, max_pixels=width * max_height))
    image.thumbnail((width, max_height))
    file = io.BytesIO()
    image.save(file, "jpeg", quality=JPEG_QUALITY)
    return file.getvalue()
