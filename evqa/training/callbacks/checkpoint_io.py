"""Lightning's door to checkpoint files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from evqa.training.callbacks.checkpoint_files import read_checkpoint, write_checkpoint


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes and reads checkpoints as `checkpoint_files` does."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save as `write_checkpoint` does."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load as `read_checkpoint` does."""
        return read_checkpoint(Path(path))
