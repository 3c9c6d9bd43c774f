"""What Hydra's own node may hold: settings of a sweep and of the log, but no other code and no change of directory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

BUILT = ("hydra.launcher", "hydra.sweeper")  # checked like every other node that builds something
STREAMS = ("ext://sys.stderr", "ext://sys.stdout")
LED_TO = ("hydra.callbacks", "hydra.hydra_logging", "hydra.job_logging")
LOGS = ("hydra.hydra_logging.", "hydra.job_logging.")


def machinery_problems(cfg: DictConfig) -> list[str]:
    """Problems of Hydra's node; none where the configuration has no such node."""
    node = OmegaConf.select(cfg, "hydra", throw_on_missing=False)
    if not isinstance(node, DictConfig):
        return []
    values = list(_leaves(OmegaConf.to_container(node, resolve=False), "hydra"))
    for path in LED_TO:
        values += _leaves(_resolved(cfg, path), path)
    return list(dict.fromkeys([*_code(values), *_directory(cfg)]))


def _resolved(cfg: DictConfig, path: str) -> Any:
    """A node of Hydra's as it will be used: an interpolation may lead to anywhere."""
    try:
        node = OmegaConf.select(cfg, path)
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except (OmegaConfBaseException, ValueError, RecursionError):
        return None  # Hydra cannot use it either


def _code(values: list[tuple[str, Any]]) -> Iterator[str]:
    """Hydra builds its callbacks, and Python's logging its handlers, from any name: both would run any code."""
    for key, value in values:
        parent, _, name = key.rpartition(".")
        if name == "_target_" and parent not in BUILT and not parent.startswith(tuple(f"{one}." for one in BUILT)):
            yield f"{key}={value}: only a launcher and a sweeper are built here; take '{parent}' away."
        elif key.startswith(LOGS) and name == "()":
            yield f"{key}={value}: logging would call it; name a 'class' of Python's logging instead."
        elif key.startswith(LOGS) and name == "class" and not str(value).startswith("logging."):
            yield f"{key}={value}: only classes of Python's own logging may write the log, e.g. logging.StreamHandler."
        elif key.startswith(LOGS) and "ext://" in str(value) and value not in STREAMS:
            yield f"{key}={value}: only ext://sys.stderr and ext://sys.stdout may be named here."


def _directory(cfg: DictConfig) -> Iterator[str]:
    if OmegaConf.select(cfg, "hydra.job.chdir", throw_on_missing=False):
        yield (
            "hydra.job.chdir=true: every place is taken from the folder where the command was started, so that the "
            "same command finds the same run; leave it out, and write run.root=FOLDER to have runs elsewhere."
        )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}")
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from _leaves(child, f"{path}.{place}")
    else:
        yield path, value
