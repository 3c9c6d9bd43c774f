"""What a scorer's settings say of the inputs that it takes, before it is loaded.

overrides: of its settings. A published scorer's may choose another question; a run keeps its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from omegaconf import OmegaConf

from evqa.config.compose import compose
from evqa.config.paths import conf_folder, group_options
from evqa.config.signature import UnknownTargetError, read_schema
from evqa.errors import CheckpointError, ConfigError
from evqa.files.stored import read_object
from evqa.prompts.prompt import Prompt
from evqa.scoring.sources import NamedColumns
from evqa.training.folder import EXPORT_FILE, RunFolder


def reads_sound_alone(place: str | Path, modal: str | None, overrides: Sequence[str]) -> bool:
    """Whether files without a picture are meant: `--modal a`, or a scorer of modal=a."""
    return (modal or _setting_of(place, overrides, "modal", "name")) == "a"


def reads_images(place: str | Path, overrides: Sequence[str]) -> bool:
    """Whether a scorer's model reads still images as such, and not as videos of one frame."""
    target = _setting_of(place, overrides, "model", "_target_")
    try:
        return isinstance(target, str) and read_schema(target).facts.get("reads_images") is True
    except UnknownTargetError:
        return False  # told of where the scorer is loaded


def further_texts(place: str | Path, overrides: Sequence[str]) -> tuple[str, ...]:
    """Texts beside title and description that a scorer's question names."""
    question = _setting_of(place, overrides, "prompt", "question")
    try:
        names = Prompt(question=question if isinstance(question, str) else None).texts
    except ConfigError:
        return ()  # told of where the scorer is loaded
    return tuple(name for name in names if name not in ("title", "description"))


def own_columns(place: str | Path, overrides: Sequence[str]) -> NamedColumns:
    """What the columns of a run's own table are called."""
    id_, title, text = (
        next(iter(_texts(_setting_of(place, overrides, "data", f"{kind}_column"))), None)
        for kind in ("id", "title", "description")
    )
    paths, header = (_texts(_setting_of(place, overrides, "data", key)) for key in ("path_column", "columns"))
    path = next(iter(paths), None)
    return NamedColumns(id=id_, path=path, title=title, description=text, files=paths[1:], header=header)


def _texts(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(one for one in values if isinstance(one, str))


def _setting_of(place: str | Path, overrides: Sequence[str], group: str, key: str) -> object:
    """None where there is none, or no scorer."""
    try:
        config = _config_of(place, tuple(overrides))
    except (ConfigError, CheckpointError):
        return None  # told of where the scorer is loaded
    node = config.get(group) if isinstance(config, dict) else None
    return node.get(key) if isinstance(node, dict) else None


def _config_of(place: str | Path, overrides: tuple[str, ...]) -> object:
    """What `evqa.load` would read of a scorer's name, a run, perhaps a merged one, or published weights."""
    folder = RunFolder(Path(place))
    if isinstance(place, str) and place in group_options(conf_folder() / "scorer"):
        return _published(place, overrides)
    if (folder.path / EXPORT_FILE).is_file():
        return read_object(folder.path / EXPORT_FILE).get("config")
    if folder.config.is_file():
        return OmegaConf.to_container(folder.read_config(), resolve=False)
    if not (folder.path / "config.json").is_file():
        return None
    from evqa.scoring.published import names_of  # heavy, and needed soon

    return _published(names_of(folder.path)[0], overrides)


@cache
def _published(name: str, overrides: tuple[str, ...]) -> object:
    weights = "model.checkpoint=."  # not looked at here; lmm_evqa names none of its own
    return OmegaConf.to_container(compose([f"scorer={name}", weights, *overrides]))
