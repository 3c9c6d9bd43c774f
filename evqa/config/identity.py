"""A run's name and folder follow from its configuration, so that the same command finds the same run again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from evqa.config import environment
from evqa.config.check import quoted_choices

DEFAULT_EXPERIMENT = "default"

PROCESSES = "trainer.devices x trainer.num_nodes"  # of a run; which of the two it is does not matter

# What does not change a run's results, or only where it lies and how it is watched.
IRRELEVANT = (
    "run",
    "resume",
    "dry_run",
    "logger",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.kernels",
    "trainer.compile",
    "trainer.log_every",
    "trainer.progress",
    "model.license",
    "model.recompute",
    "model.recompute_media",
    "data.workers",
    "data.cache.folder",
    "data.cache.max_gigabytes",
    "data.cache.fill",
    "data.cache.verify",
    "data.cache.shard_megabytes",
    "data.limits.timeout_seconds",
    "data.max_failures",
    "data.prepared",
    "callbacks.checkpoints.every_steps",
    "callbacks.checkpoints.keep",
    "callbacks.pruning.journal",
    "callbacks.pruning.study",
    "callbacks.pruning.trial",
)


class ChangedKey(NamedTuple):
    """A key whose value differs; an absent one is '<absent>'."""

    key: str
    saved: object
    wanted: object

    def __str__(self) -> str:
        return f"{self.key}: {self.saved!r} there, {self.wanted!r} now"


def settle(cfg: DictConfig, choices: Mapping[str, object]) -> DictConfig:
    """The configuration resolved and read-only, with `run.experiment` and `run.name` filled in.

    What comes from an environment variable stays as it was written, and is worked out whenever it is asked for.
    choices: the option of each group; the chosen `experiment` or else `sweep` names the experiment.
    """
    settled: DictConfig = OmegaConf.create(environment.settled(cfg))
    with read_write(settled), open_dict(settled):
        for key, text in quoted_choices(settled):
            OmegaConf.update(settled, key, text)
        settled.run.experiment = experiment_name(settled.run.get("experiment"), choices)
        settled.run.name = run_name(settled)
    OmegaConf.set_struct(settled, OmegaConf.is_struct(cfg))
    OmegaConf.set_readonly(settled, True)
    return settled


def experiment_name(given: str | None, choices: Mapping[str, object]) -> str:
    """The given name, else the chosen experiment or sweep, else 'default'."""
    name = given or choices.get("experiment") or choices.get("sweep") or DEFAULT_EXPERIMENT
    return str(name).replace("/", "-")


def run_name(cfg: DictConfig) -> str:
    """`run.name`, or '<model>-<modal>-<head>-s<seed>-<8 hex digits of the configuration>'.

    A seed or modality that comes from the environment is left out; it counts among the digits.
    """
    if cfg.run.get("name"):
        return str(cfg.run.name)
    words = [_word(cfg.get("model")), _public(cfg.get("modal"), "name"), _word(cfg.get("head"))]
    seed = _public(cfg, "seed")
    parts = [*(str(word) for word in words if word), *([f"s{seed}"] if seed is not None else [])]
    return "-".join([*parts, fingerprint(cfg)[:8]])


def _public(node: DictConfig | None, key: str) -> Any:
    if node is None or (key in node and environment.comes_from_environment(node, key)):
        return None
    return node.get(key)


def folder(cfg: DictConfig) -> Path:
    """The run's folder: `<run.root>/<experiment>/<name>`."""
    return Path(str(cfg.run.root)) / (cfg.run.get("experiment") or DEFAULT_EXPERIMENT) / run_name(cfg)


def fingerprint(cfg: DictConfig | Mapping[str, Any]) -> str:
    """SHA-256 of everything that can change results; 8 and 8.0 are the same number, order does not matter."""
    return hashlib.sha256(json.dumps(sorted(_relevant(cfg)), sort_keys=True).encode()).hexdigest()


def difference(saved: DictConfig | Mapping[str, Any], wanted: DictConfig | Mapping[str, Any]) -> list[ChangedKey]:
    """Keys that can change results and differ between two configurations, sorted."""
    left, right = ({PROCESSES: 1} | dict(_relevant(cfg)) for cfg in (saved, wanted))
    absent = "<absent>"
    return [
        ChangedKey(key, left.get(key, absent), right.get(key, absent))
        for key in sorted({*left, *right})
        if left.get(key, absent) != right.get(key, absent)
    ]


def register_resolver() -> None:
    """Make `${evqa.experiment:}` known, which names a sweep's folder in conf/train.yaml, and hide the environment."""
    environment.register_resolvers()
    OmegaConf.register_new_resolver("evqa.experiment", _experiment_of, replace=True)


def _experiment_of(*, _root_: DictConfig) -> str:
    choices = OmegaConf.select(_root_, "hydra.runtime.choices")
    if choices is None and HydraConfig.initialized():
        choices = HydraConfig.get().runtime.choices
    return experiment_name(OmegaConf.select(_root_, "run.experiment"), choices or {})


def _relevant(cfg: DictConfig | Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    plain = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else cfg
    yield from _processes(plain)
    for key, value in _leaves(plain, ""):
        if not any(fnmatchcase(key, pattern) or fnmatchcase(key, f"{pattern}.*") for pattern in IRRELEVANT):
            yield key, value


def _processes(plain: Any) -> Iterator[tuple[str, Any]]:
    """How many processes train, wherever they run: each adds its batch to a step. One is not worth a key."""
    counts = [value for key, value in _leaves(plain, "") if key in ("trainer.devices", "trainer.num_nodes")]
    if all(isinstance(count, int) for count in counts) and math.prod(counts) != 1:
        yield PROCESSES, math.prod(counts)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, _canonical(value)


def _canonical(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _word(node: Any) -> str | None:
    """The module's own word: `evqa.models.tiny.Tiny` is 'tiny', a package's modules share the package's word."""
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    if not target:
        return None
    parts = str(target).split(".")
    return parts[2] if parts[0] == "evqa" and len(parts) > 3 else parts[max(0, len(parts) - 2)]
