"""How many tokens a still image becomes: LLaVA-NeXT's packing of tiles (transformers `pack_image_features`).

# P patches of a tile's side
"""

from __future__ import annotations

import math

from evqa.types import ImageGrid

MAX_TILES = 9  # an image of more patches is scaled down to these


def packed_size(grid: ImageGrid, side: int) -> tuple[int, int]:
    """Return rows and columns of patches of an image, without the black around it and after scaling down.

    side: patches of a tile's side, P.
    """
    height, width = _unpadded(grid, grid.rows * side, grid.columns * side)
    ratio = math.sqrt(height * width / (MAX_TILES * side**2))
    return (int(height // ratio), int(width // ratio)) if ratio > 1.1 else (height, width)


def num_image_tokens(grid: ImageGrid, side: int, *, overview: bool) -> int:
    """Count the tokens of an image: a newline ends every row; the overview has none."""
    rows, columns = packed_size(grid, side)
    return rows * (columns + 1) + (side**2 if overview else 0)


def _unpadded(grid: ImageGrid, height: int, width: int) -> tuple[int, int]:
    if grid.width / grid.height > width / height:
        kept = int(round(grid.height * (width / grid.width), 7))
        return height - 2 * ((height - kept) // 2), width
    kept = int(round(grid.width * (height / grid.height), 7))
    return height, width - 2 * ((width - kept) // 2)
