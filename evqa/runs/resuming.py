"""Which checkpoint a life of a run begins with, and which one it scores with at its end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from omegaconf import DictConfig, OmegaConf

from evqa.callbacks.checkpoint_files import read_checkpoint
from evqa.callbacks.checkpoints import Continuation, best_of, newest_whole
from evqa.config.identity import difference
from evqa.errors import CheckpointError, EvqaError, RunError
from evqa.module import METADATA, ScoreModule
from evqa.runs.folder import RunFolder

NO_BEST = "no validation had a value, so there is no best checkpoint and the last one was scored"
REMEDY = "Remove the file; the same command then continues from the one before, or begins anew."


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a life begins: behind a step of a checkpoint, or without one at the beginning."""

    checkpoint: Path | None
    epoch: int = 0
    step: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)  # of the checkpoint


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A checkpoint to score with. note: why it is not the best one, where that was asked for."""

    path: Path
    state: dict[str, Any]
    note: str | None = None


def start_of(config: DictConfig, folder: RunFolder, module: ScoreModule, warn: Callable[[str], None]) -> Start:
    """Find the newest checkpoint of this very run that can be continued from.

    Raises:
        RunError: there is one, and resume=never.
        CheckpointError: it belongs to another run or does not fit the model.
    """
    has_checkpoints = any((folder.checkpoints / f"{name}.ckpt").exists() for name in ("last", "previous"))
    if has_checkpoints and config.resume == "never":
        raise RunError(
            f"{folder.path} holds an unfinished run and resume=never. Remove the folder, or use resume=auto."
        )
    found = newest_whole(folder.checkpoints, warn)
    if found is None:
        if has_checkpoints:
            warn(f"{folder.path}: no checkpoint can be continued from; the training begins anew.")
        return Start(checkpoint=None)
    check_origin(found.path, found.state, config)
    _check_fits(found, module)
    epoch, step = found.state["epoch"], found.state["global_step"]
    return Start(checkpoint=found.path, epoch=epoch, step=step, metadata=found.state[METADATA])


def check_origin(path: Path, state: dict[str, Any], config: DictConfig) -> None:
    """Refuse a checkpoint that a run of other settings has written.

    Raises:
        CheckpointError: as said; with the first of the settings that differ.
    """
    try:
        saved = OmegaConf.create(str(state[METADATA]["config"]))
        differing = difference(_as_written(saved), _as_written(config))
    except Exception as error:
        raise CheckpointError(
            f"{path} is no checkpoint of evqa: it does not say with which settings it was made"
        ) from error
    if differing:
        raise CheckpointError(
            f"{path} is the checkpoint of another run: {'; '.join(map(str, differing[:3]))}. Put the run's own one "
            "back, or remove the file."
        )


def _as_written(config: Any) -> dict[str, Any]:
    """The settings without values of the environment, which are recorded nowhere."""
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))


def _check_fits(found: Continuation, module: ScoreModule) -> None:
    try:
        module.check_fits(found.state)
    except CheckpointError as error:
        raise CheckpointError(f"{found.path}: {error}. {REMEDY}") from None


def say_what_cannot_be_restored(trainer: lightning.Trainer, path: Path | None) -> None:
    """Make the trainer's restoring end in a sentence where a checkpoint's inner state is not what it reads."""
    connector = trainer._checkpoint_connector
    for name in ("_restore_modules_and_callbacks", "restore_training_state"):
        setattr(connector, name, _in_a_sentence(getattr(connector, name), path))


def _in_a_sentence(restore: Callable[..., None], path: Path | None) -> Callable[..., None]:
    @functools.wraps(restore)
    def restored(*arguments: Any, **options: Any) -> None:
        try:
            restore(*arguments, **options)
        except (EvqaError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if path is None:
                raise
            raise CheckpointError(
                f"{path} cannot be continued from ({type(error).__name__}: {error}). {REMEDY}"
            ) from error

    return restored


def weights_to_score(folder: RunFolder) -> Weights:
    """Read the best checkpoint, or the last one where no validation had a value (e.g. fewer than three items).

    Raises:
        RunError: there is no checkpoint.
        CheckpointError: it is damaged, or the best one has gone.
    """
    best, last = folder.checkpoints / "best.ckpt", folder.checkpoints / "last.ckpt"
    if not best.exists() and not last.exists():
        raise RunError(
            f"{folder.path}: no checkpoint best.ckpt. Train the run to its end, or choose another one with --ckpt."
        )
    try:
        if not best.exists() and best_of(state := read_checkpoint(last)) is None:
            return Weights(path=last, state=state, note=NO_BEST)
        return Weights(path=best, state=read_checkpoint(best))
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. To train these weights again, remove {folder.path / 'predictions' / 'finished'} where it exists "
            "and repeat the training's command; --ckpt last scores the last weights instead."
        ) from None
