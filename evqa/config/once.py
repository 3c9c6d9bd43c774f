"""Hydra's loader, which hands out a configuration that has been examined already instead of composing it again."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig


class ExaminedLoader(ConfigLoaderImpl):
    """Hydra's loader. What it is given to `keep` it returns once, to who asks for a run of the same overrides."""

    _kept: tuple[list[str], DictConfig] | None = None

    def keep(self, cfg: DictConfig, lines: Sequence[str]) -> None:
        """Keep the configuration that these overrides make, and record them in it as Hydra does."""
        overrides = OverridesParser.create().parse_overrides(list(lines))
        of_job = [override for override in overrides if not override.is_hydra_override()]
        cfg.hydra.overrides.hydra = [override.input_line for override in overrides if override.is_hydra_override()]
        cfg.hydra.overrides.task = [override.input_line for override in of_job]
        self._apply_overrides_to_config([one for one in overrides if one.key_or_group == "hydra.mode"], cfg)
        cfg.hydra.job.override_dirname = get_overrides_dirname(of_job, **cfg.hydra.job.config.override_dirname)
        self._kept = (list(lines), cfg)

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose, unless this run's configuration is there."""
        if self._kept is not None and run_mode == RunMode.RUN and self._kept[0] == overrides:
            (_, cfg), self._kept = self._kept, None
            return cfg
        return super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
