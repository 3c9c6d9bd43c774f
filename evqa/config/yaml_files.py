"""Read the files of a configuration with libyaml's parser, which takes a tenth of the time of PyYAML's own."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf._utils import get_yaml_loader


def read_config(path: Path) -> DictConfig | ListConfig:
    """Read a file as `OmegaConf.load` does: the same values and the same errors.

    OmegaConf itself reads what holds neither keys nor a list.
    """
    values = read_values(path)
    return OmegaConf.create(values) if isinstance(values, dict | list) else OmegaConf.load(path)


def read_values(path: Path) -> Any:
    """Read a file as plain values, with OmegaConf's rules for numbers and repeated keys.

    PyYAML's own parser reads it where PyYAML was built without libyaml, and where something is wrong with the file: it
    alone shows the line. libyaml takes a little that the other refuses, as a tab before a comment or a question mark
    within a list.

    Raises:
        yaml.YAMLError: it cannot be read.
    """
    if yaml.__with_libyaml__:
        try:
            return yaml.load(path.read_text(encoding="utf-8"), _loader())
        except yaml.YAMLError:
            pass
    with path.open(encoding="utf-8") as file:
        return yaml.load(file, get_yaml_loader())


@cache
def _loader() -> Any:
    """OmegaConf's loader (its numbers, no duplicate keys) over libyaml's parser."""
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class LibyamlLoader(CParser, get_yaml_loader()):  # type: ignore[misc]
        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return LibyamlLoader


class YamlFiles(FileConfigSource):
    """Hydra's source of configuration files, read so."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file and its header (`# @package ...`). Raises ConfigLoadError where it is not there."""
        path = Path(os.path.realpath(Path(self.path) / self._normalize_file_name(config_path)))
        if not path.exists():
            raise ConfigLoadError(f"Config not found : {path}")
        with path.open(encoding="utf-8") as file:
            header = ConfigSource._get_header_dict(file.read(512))
        place = f"{self.scheme()}://{self.path}"
        return ConfigResult(config=read_config(path), path=place, provider=self.provider, header=header)


def use_yaml_files() -> None:
    """Make it what Hydra reads files with: its registry of sources has one for each kind of place."""
    SourcesRegistry.instance().types[YamlFiles.scheme()] = YamlFiles
