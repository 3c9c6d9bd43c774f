"""What a scorer's settings say of the inputs that it takes, before it is loaded."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from omegaconf import OmegaConf

from evqa.config.composer import open_configuration
from evqa.config.paths import conf_folder, group_folders, group_options
from evqa.config.signature import UnknownTargetError, read_schema
from evqa.errors import ConfigError
from evqa.files.stored import read_object
from evqa.prompts.prompt import Prompt
from evqa.training.folder import EXPORT_FILE, RunFolder


def reads_sound_alone(place: str | Path, modal: str | None) -> bool:
    """Whether files without a picture are meant: `--modal a`, or a scorer of modal=a."""
    return (modal or _setting_of(place, "modal", "name")) == "a"


def reads_images(place: str | Path) -> bool:
    """Whether a scorer's model reads still images as such, and not as videos of one frame."""
    target = _setting_of(place, "model", "_target_")
    try:
        return isinstance(target, str) and read_schema(target).facts.get("reads_images") is True
    except UnknownTargetError:
        return False  # told of where the scorer is loaded


def further_texts(place: str | Path) -> tuple[str, ...]:
    """Texts beside title and description that a scorer's question names."""
    question = _setting_of(place, "prompt", "question")
    try:
        names = Prompt(question=question if isinstance(question, str) else None).texts
    except ConfigError:
        return ()  # told of where the scorer is loaded
    return tuple(name for name in names if name not in ("title", "description"))


def _setting_of(place: str | Path, group: str, key: str) -> object:
    config = _config_of(place)
    node = config.get(group) if isinstance(config, dict) else None
    return node.get(key) if isinstance(node, dict) else None


def _config_of(place: str | Path) -> object:
    """The configuration of what `evqa.load` would load; None where that is nothing."""
    folder = RunFolder(Path(place))
    if place in group_options(group_folders(conf_folder())["scorer"]):
        return _named(str(place))
    if (folder.path / EXPORT_FILE).is_file():
        return read_object(folder.path / EXPORT_FILE).get("config")
    if folder.config.is_file():
        return OmegaConf.to_container(folder.read_config(), resolve=False)
    return _published(folder.path)


def _published(folder: Path) -> object:
    from evqa.scoring.published import NAMES, is_checkpoint, kind_of  # heavy, and needed soon

    names = NAMES.get(kind_of(folder)) if is_checkpoint(folder) else None
    return _named(names[0]) if names else None


@cache
def _named(name: str) -> object:
    return OmegaConf.to_container(open_configuration("train").compose([f"scorer={name}"]), resolve=False)
