"""Still images: decoded within the same limits as videos, whole or in tiles.

# T tiles, H, W height and width, C channels
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch import Tensor

from evqa.errors import ConfigError, MediaError
from evqa.media.limits import Budget
from evqa.media.reader import Shot
from evqa.media.resize import bicubic, pillow_bicubic
from evqa.types import ImageGrid

if TYPE_CHECKING:
    from PIL.Image import Image

_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # of a PNG and a JPEG file; WebP has its name at byte 8
_FORMATS = ("PNG", "JPEG", "WEBP")
_PIXELS_FACTOR = 4  # times `max_pixels`: one picture is in memory, where a video's decoder holds several
_LONGEST_SIDE = 65_535  # as in JPEG: a resized side costs memory by the other one's length
_OTHER_STARTS = {  # of still images that are not read
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"#?R": "Radiance HDR",
    b"v/1\x01": "OpenEXR",
    b"8BPS": "Photoshop",
}
_OTHER_BRANDS = {b"avif": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}  # in an MP4's first box


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a still image is cut: LLaVA's any-resolution tiles, after an overview of the whole image.

    size: side of a tile. grids: (rows, columns) to choose from: the one in which the image, its aspect ratio kept, has
    most pixels of its own, and among equals the one that wastes fewest. The image lies in the middle of black.
    exact: Pillow's own arithmetic (width first), as VQA² resizes.
    """

    size: Annotated[int, "1 <= size <= 4096"] = 384
    grids: tuple[tuple[int, int], ...] = field(
        default_factory=lambda: tuple((rows, columns) for columns in range(1, 7) for rows in range(1, 7))
    )
    exact: bool = False

    def __post_init__(self) -> None:
        grids = tuple((int(rows), int(columns)) for rows, columns in self.grids)  # YAML gives lists
        if not grids or min(min(grid) for grid in grids) < 1:
            raise ConfigError([f"image.grids={list(self.grids)}: give at least one [rows, columns], each at least 1."])
        object.__setattr__(self, "grids", grids)

    def best(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns for an image (LLaVA-NeXT `select_best_resolution`)."""

        def merit(grid: tuple[int, int]) -> tuple[int, int]:
            rows, columns = grid[0] * self.size, grid[1] * self.size
            scale = min(columns / width, rows / height)
            used = min(int(width * scale) * int(height * scale), width * height)
            return used, used - rows * columns

        return max(self.grids, key=merit)

    def cut(self, image_HWC: Tensor) -> tuple[Tensor, ImageGrid]:
        """Return uint8 tiles [T, H, W, C]: the overview, then row by row; and where they lie."""
        height, width = image_HWC.shape[:2]
        rows, columns = self.best(height, width)
        canvas = image_HWC.new_zeros(rows * self.size, columns * self.size, 3)
        inner = self._resized(image_HWC, _inner_hw(height, width, canvas.shape))
        top, left = (canvas.shape[0] - inner.shape[0]) // 2, (canvas.shape[1] - inner.shape[1]) // 2
        canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        tiles = canvas.reshape(rows, self.size, columns, self.size, 3).permute(0, 2, 1, 3, 4).flatten(0, 1)
        overview = self._resized(image_HWC, (self.size, self.size))
        grid = ImageGrid(rows=rows, columns=columns, height=height, width=width)
        return torch.cat([overview[None], tiles]), grid

    def _resized(self, image_HWC: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return (pillow_bicubic if self.exact else bicubic)(image_HWC, size_hw)


def _inner_hw(height: int, width: int, canvas: Sequence[int]) -> tuple[int, int]:
    """Size of the image within the canvas (LLaVA-NeXT `resize_and_pad_image`)."""
    tall, wide = canvas[0] / height, canvas[1] / width
    if wide < tall:
        return min(math.ceil(height * wide), canvas[0]), canvas[1]
    return canvas[0], min(math.ceil(width * tall), canvas[1])


class StillFrames:
    """A `FrameReader` over one image: a video of one frame, at second 0."""

    def __init__(self, image_HWC: Tensor) -> None:
        self._image_HWC = image_HWC
        self.start_seconds = self.end_seconds = self.average_fps = 0.0
        self.seconds_N: Sequence[float] = [0.0]
        self.notes = ["the file is a still image; it is taken as a video of one frame"]

    def frames(self, numbers: Sequence[int]) -> Iterator[Shot]:
        """Give out the image."""
        for number in numbers:
            yield Shot(number=number, seconds=0.0, rgb_HWC=self._image_HWC.numpy())


def is_image(budget: Budget) -> bool:
    """Whether a file begins as a PNG, JPEG or WebP file does; false where it cannot be opened.

    Raises:
        MediaError: it is a still image of another format. FFmpeg would open some, and a part of others as the whole.
    """
    try:
        if not budget.path.is_file():
            return False
        with budget.path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    if other := _other_format(start):
        budget.refuse(f"is a still image of the format {other}, which is not read; convert it to PNG, JPEG or WebP")
    return start.startswith(_STARTS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def _other_format(start: bytes) -> str | None:
    if start[4:8] == b"ftyp":
        return _OTHER_BRANDS.get(start[8:])
    return next((name for first, name in _OTHER_STARTS.items() if start.startswith(first)), None)


@dataclass(frozen=True, kw_only=True)
class StillImage:
    """A decoded image, upright (EXIF): uint8 RGB. codec: png, jpeg, mpo or webp. notes: on what was left out."""

    rgb_HWC: Tensor
    codec: str
    notes: tuple[str, ...]


def read_image(budget: Budget) -> StillImage:
    """Decode an image.

    Raises:
        MediaError: it breaks a limit, is damaged, or its storage fails.
    """
    from PIL import Image, ImageOps

    damaged = "is a still image that cannot be decoded; it is damaged or cut off"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter, or meant
        try:
            with Image.open(budget.path, formats=_FORMATS) as file:
                _check_size(budget, *file.size)
                notes, codec = tuple(_left_out(file)), str(file.format).lower()
                ImageOps.exif_transpose(file, in_place=True)
                rgb_HWC = np.array(_as_rgb(file))
        except Image.DecompressionBombError:
            budget.refuse("is a still image of more pixels than Pillow decodes; scale it down")
        except MediaError:
            raise
        except OSError as error:
            if error.errno is not None:
                raise MediaError(budget.path, f"cannot be read: {(error.strerror or 'unknown').lower()}") from error
            budget.refuse(damaged)
        except (ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError):
            budget.refuse(damaged)  # what Pillow's parsers raise for broken headers and metadata
    budget.check_time()
    return StillImage(rgb_HWC=torch.from_numpy(rgb_HWC), codec=codec, notes=notes)


def _check_size(budget: Budget, width: int, height: int) -> None:
    if max(width, height) > _LONGEST_SIDE:
        budget.refuse(
            f"is a still image of {width}x{height} pixels, with a side of more than the {_LONGEST_SIDE} allowed; "
            "scale it down or cut it"
        )
    most = _PIXELS_FACTOR * budget.limits.max_pixels
    if width * height > most:
        budget.refuse(
            f"is a still image of {width}x{height} pixels, more than the {most} allowed; scale it down, or raise "
            f"data.limits.max_pixels, of which it may have {_PIXELS_FACTOR} times as many"
        )


def _left_out(file: Image) -> Iterator[str]:
    if file.format == "MPO":
        yield "the file holds further pictures (as some cameras add them); the first is taken"
    elif getattr(file, "n_frames", 1) > 1:
        yield "the image is animated; its first picture is taken"
    if file.mode in ("RGBA", "LA", "PA") or "transparency" in file.info:
        yield "the image's transparency is left out"


def _as_rgb(image: Image) -> Image:
    if not image.mode.startswith("I"):
        return image if image.mode == "RGB" else image.convert("RGB")
    import PIL.Image

    # 16 bits of grey: Pillow would cut off what is above 255
    return PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
