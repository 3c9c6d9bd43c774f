"""VideoLLaMA2 with random weights of its own tiny size; it needs no checkpoint."""

from pathlib import Path


def write(folder: Path) -> dict:
    """Return keyword arguments for the model."""
    random = {"checkpoint": None, "revision": None, "size": "tiny"}
    return {**random, "dtype": "float32"}
