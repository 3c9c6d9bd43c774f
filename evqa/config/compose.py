"""Compose a configuration and check it whole, before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, open_dict

from evqa.config import identity
from evqa.config.composer import open_configuration
from evqa.config.examine import examine
from evqa.errors import ConfigError


def compose(lines: Sequence[str] = (), *, config_name: str = "train", conf: Path | None = None) -> DictConfig:
    """A checked, resolved configuration as a run gets it. Raises ConfigError with every problem."""
    composer = open_configuration(config_name, conf=conf)
    plan = examine(composer, lines)
    if plan.problems:
        raise ConfigError(plan.problems)
    cfg = plan.configuration
    return identity.settle(job_part(cfg), cfg.hydra.runtime.choices)


def job_part(cfg: DictConfig) -> DictConfig:
    """The configuration without Hydra's own node."""
    if "hydra" not in cfg:
        return cfg
    job = cfg.copy()
    with open_dict(job):
        del job["hydra"]
    return job
