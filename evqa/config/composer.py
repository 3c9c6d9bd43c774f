"""Hydra's loader over evqa's configuration files: groups, options, composing, checking."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evqa.config import identity
from evqa.config.check import check
from evqa.config.machinery import machinery_problems
from evqa.config.once import ExaminedLoader
from evqa.config.paths import conf_folder
from evqa.config.protocols import GROUP, Protocol, keys_set, merged_problems
from evqa.config.rules import Design, broken_rules
from evqa.config.signature import Schema, UnknownTargetError, read_schema
from evqa.config.yaml_files import read_config, read_values, use_yaml_files
from evqa.errors import ConfigError

# These may set any key; choosing none of them is usual.
GLOBAL_GROUPS = ("experiment", "sweep", "scorer")

CompositionError = (HydraException, OmegaConfBaseException, ValueError)


class Composer:
    """Hydra's loader over evqa's configuration files, with questions about groups and their options."""

    def __init__(self, config_name: str, loader: ExaminedLoader) -> None:
        self.config_name, self.loader = config_name, loader
        self._options: dict[str, list[str]] = {}

    def options(self, group: str) -> list[str]:
        """What a group offers; empty where there is no such group."""
        if group not in self._options:
            self._options[group] = sorted(self.loader.get_group_options(group)) if _is_group_name(group) else []
        return self._options[group]

    @cached_property
    def groups(self) -> list[str]:
        """The groups of the configuration files, without Hydra's own."""
        return [group for group in self.loader.list_groups("") if group != "hydra"]

    def compose(self, lines: Sequence[str], *, mode: RunMode = RunMode.RUN) -> DictConfig:
        """Compose with Hydra's own node. Raises one of CompositionError."""
        return self.loader.load_configuration(
            self.config_name, list(lines), run_mode=mode, validate_sweep_overrides=False
        )

    @cached_property
    def defaults(self) -> dict[str, object]:
        """The default option of each group that the primary file names."""
        folders = [Path(place.path) for place in self.loader.get_search_path().get_path() if place.provider == "main"]
        primary = read_config(folders[0] / f"{self.config_name}.yaml")
        assert isinstance(primary, DictConfig)
        items = [item for item in primary.get("defaults", ()) if isinstance(item, DictConfig)]
        return {str(group): option for item in items for group, option in item.items() if " " not in str(group)}

    def set_values(self, cfg: DictConfig, overrides: list[Override]) -> None:
        """Set single values in a composed configuration, in place. Raises one of CompositionError."""
        self.loader._apply_overrides_to_config(overrides, cfg)

    def alternatives(self, group: str) -> dict[str, Schema]:
        """The schema of each option of a group that builds something."""
        found = {}
        for option in self.options(group):
            try:
                found[option] = read_schema(self._target(group, option))
            except (*CompositionError, UnknownTargetError, KeyError, TypeError):
                continue
        return found

    def _target(self, group: str, option: str) -> str:
        """The class of an option, read from its file or from the option that it builds on.

        Composing every option as a whole, as Hydra would, takes a second for all models together.
        """
        node = self._read_option(group, option)
        if "_target_" in node:
            return str(node["_target_"])
        for base in node.get("defaults", ()):
            if isinstance(base, str) and base != "_self_":
                return self._target(group, base)
        composed = OmegaConf.select(self.loader.load_configuration(f"{group}/{option}", [], RunMode.RUN), group)
        return str(composed["_target_"])

    def _read_option(self, group: str, option: str) -> dict[str, Any]:
        """An option's file as it is written; empty where it has none or holds no keys."""
        places = [Path(place.path.removeprefix("file://")) for place in self.loader.get_search_path().get_path()]
        file = next((file for place in places if (file := place / group / f"{option}.yaml").is_file()), None)
        values = read_values(file) if file else None
        return values if isinstance(values, dict) else {}

    def check(self, cfg: DictConfig, *, sweep: bool = False) -> list[str]:
        """All problems of a composed configuration, with or without Hydra's node; of a sweep also its machinery's."""
        also = ("hydra.launcher", "hydra.sweeper") if sweep else ()
        findings = check(cfg, groups=tuple(self.groups), also=also, placed=True)
        machinery = machinery_problems(cfg)
        unchosen = self._unchosen(cfg) if "hydra" in cfg else []
        design = Design(cfg=cfg, schemas=findings.schemas, alternatives=self.alternatives)
        found = findings.problems + broken_rules(design)
        return unchosen + machinery + (merged_problems(self._protocol(cfg), design, found) if "hydra" in cfg else found)

    def _protocol(self, cfg: DictConfig) -> Protocol:
        """The chosen prompt with what it sets beside itself."""
        name = str(cfg.hydra.runtime.choices.get(GROUP))
        sets = keys_set(self._read_option(GROUP, name))
        others = [one for one in self.options(GROUP) if not keys_set(self._read_option(GROUP, one))] if sets else []
        return Protocol(name=name, sets=sets, others=others)

    def _unchosen(self, cfg: DictConfig) -> list[str]:
        """Groups that must be chosen (their default is not null) and were set to null."""
        chosen = cfg.hydra.runtime.choices
        empty = {group for group in self.groups if chosen.get(group) is None} - set(GLOBAL_GROUPS)
        return [
            f"{group}: nothing is chosen. Options: {', '.join(self.options(group))}."
            for group in sorted(empty)
            if self.defaults.get(group) is not None
        ]


def open_configuration(config_name: str, *, conf: Path | None = None, folders: Sequence[Path] = ()) -> Composer:
    """Find the configuration files and make Hydra ready for them.

    conf: instead of evqa's own. folders: further ones with more options (`--config-dir`). Raises ConfigError.
    """
    version.setbase("1.3")
    setup_globals()
    identity.register_resolver()
    search_path = create_config_search_path(search_path_dir=str(conf or conf_folder()))
    use_yaml_files()
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError([f"--config-dir {folder}: there is no such folder."])
        search_path.prepend("command-line", f"file://{folder.resolve()}", anchor=SearchPathQuery("schema", None))
    return Composer(config_name, ExaminedLoader(config_search_path=search_path))


def _is_group_name(name: str) -> bool:
    return bool(name) and not name.startswith("/") and ".." not in name
