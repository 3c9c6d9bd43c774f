"""What makes two commands the same: what is scored, by what, and with which settings."""

from __future__ import annotations

import hashlib
from pathlib import Path

from evqa.config.paths import calibration_file

END = 65_536  # bytes of each end of a file that are compared


def digest_of_scorer(place: Path, checkpoint: str) -> str:
    """A text that is another one where other weights or settings would score; reads little of large files."""
    found = hashlib.sha256(f"{checkpoint}\n{'' if place.exists() else place}".encode("utf-8", "surrogateescape"))
    files = [place] if place.is_file() else sorted(path for path in place.glob("*") if path.is_file())
    if (place / "config.yaml").is_file():
        weights = [place / "checkpoints" / f"{name}.ckpt" for name in (checkpoint, "last")] + [Path(checkpoint)]
        files = [place / "config.yaml", *[path for path in weights if path.is_file()][:1]]
        files += filter(Path.is_file, [calibration_file(place)])
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            found.update(f"{path.name} {size}\n".encode("utf-8", "surrogateescape") + file.read(END))
            file.seek(max(0, size - END))  # a checkpoint of evqa ends with its checksum
            found.update(file.read(END))
    return found.hexdigest()
