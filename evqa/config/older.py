"""Runs of earlier versions: settings that have other names today, and configurations that this one cannot build."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evqa.errors import FileError
from evqa.files.stored import read_object

# Where classes lay before prompts became settings of their own; every run has an optimizer.
MOVED = ("evqa.losses.", "evqa.optimization.", "evqa.tuning.", "evqa.callbacks.")


def rename_settings(values: dict[str, Any]) -> None:
    """Give settings of older runs, in place, the names and values that they have today."""
    model = values.get("model")
    if isinstance(model, dict) and isinstance(was := model.get("gradient_checkpointing"), bool):
        del model["gradient_checkpointing"]
        model |= {"recompute": float(was), "recompute_media": was}


def why_too_old(config: DictConfig, path: Path) -> str | None:
    """Say which version made a run, where it is too old to be built again; None where it is not.

    path: the run's config.yaml.
    """
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    targets = [str(node.get("_target_")) for node in values.values() if isinstance(node, dict)]
    if "prompt" in values or not any(target.startswith(MOVED) for target in targets):
        return None
    return (
        f"{path}: the run was made by an earlier evqa ({_version_of(path)}), in which the prompt was no setting and "
        "classes had other names; this version cannot build it. Score with that version, or train the run again with "
        "this one."
    )


def _version_of(path: Path) -> str:
    """Name version and commit as environment.json beside the configuration has them."""
    try:
        facts = read_object(path.with_name("environment.json"))
    except FileError:
        facts = {}
    packages = facts.get("packages")
    version = packages.get("evqa") if isinstance(packages, dict) else None
    known = [("version", version, r"[\w.+!-]{1,40}"), ("commit", facts.get("commit"), r"[0-9a-f]{7,40}(\+changes)?")]
    words = [f"{word} {value}" for word, value, form in known if isinstance(value, str) and re.fullmatch(form, value)]
    return ", ".join(words) or "which one is not recorded"
