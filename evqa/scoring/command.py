"""What makes two commands the same: what is scored, by what, and with which settings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from evqa.config.paths import conf_folder, group_options
from evqa.errors import CheckpointError, ConfigError
from evqa.files.stored import read_object
from evqa.prompts.prompt import Prompt
from evqa.training.folder import EXPORT_FILE, RunFolder

END = 65_536  # bytes of each end of a file that are compared


def digest_of_scorer(place: Path, checkpoint: str) -> str:
    """A text that is another one where other weights or settings would score; reads little of large files."""
    found = hashlib.sha256(f"{checkpoint}\n{'' if place.exists() else place}".encode("utf-8", "surrogateescape"))
    files = [place] if place.is_file() else sorted(path for path in place.glob("*") if path.is_file())
    if (place / "config.yaml").is_file():
        weights = [place / "checkpoints" / f"{name}.ckpt" for name in (checkpoint, "last")] + [Path(checkpoint)]
        files = [place / "config.yaml", *[path for path in weights if path.is_file()][:1]]
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            found.update(f"{path.name} {size}\n".encode("utf-8", "surrogateescape") + file.read(END))
            file.seek(max(0, size - END))  # a checkpoint of evqa ends with its checksum
            found.update(file.read(END))
    return found.hexdigest()


def reads_sound_alone(place: Path, modal: str | None) -> bool:
    """Whether files without a picture are meant: `--modal a`, or a run (perhaps merged) of modal=a."""
    return (modal or _setting_of(place, "modal", "name")) == "a"


def further_texts(place: str | Path, overrides: Sequence[str]) -> tuple[str, ...]:
    """Texts beside title and description that a scorer's question names."""
    try:
        question = _published_question(place, overrides) or _setting_of(Path(place), "prompt", "question")
        names = Prompt(question=question if isinstance(question, str) else None).texts
    except (ConfigError, CheckpointError):
        return ()  # told of where the scorer is loaded
    return tuple(name for name in names if name not in ("title", "description"))


def _published_question(place: str | Path, overrides: Sequence[str]) -> object:
    """What a published scorer asks, by name or by its weights' folder; overrides may choose another protocol."""
    if isinstance(place, str) and place in group_options(conf_folder() / "scorer"):
        return _composed_question(place, overrides)
    folder = Path(place)
    if RunFolder(folder).config.exists() or (folder / EXPORT_FILE).is_file() or not (folder / "config.json").is_file():
        return None
    from evqa.scoring.published import CHECKPOINT, names_of

    return _composed_question(names_of(folder)[0], [f"{CHECKPOINT}=.", *overrides])  # its place is not looked at


def _composed_question(name: str, overrides: Sequence[str]) -> object:
    from evqa.config.compose import compose

    return compose([f"scorer={name}", *overrides]).prompt.question


def _setting_of(place: Path, group: str, key: str) -> object:
    """Read a setting of a run, perhaps a merged one; None where the place is neither."""
    folder, config = RunFolder(place), None
    if folder.config.is_file():
        config = OmegaConf.to_container(folder.read_config(), resolve=False)
    elif (place / EXPORT_FILE).is_file():
        config = read_object(place / EXPORT_FILE).get("config")
    node = config.get(group) if isinstance(config, dict) else None
    return node.get(key) if isinstance(node, dict) else None
