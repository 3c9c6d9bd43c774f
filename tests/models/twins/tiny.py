"""The embedded model, smaller still; it needs no checkpoint."""

from pathlib import Path


def write(folder: Path) -> dict:
    """Return keyword arguments for the model."""
    return {"width": 16, "num_layers": 2, "num_heads": 2, "image_size": 32}
