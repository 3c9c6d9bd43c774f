"""Which checkpoint a life of a run begins with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch

from evqa.errors import CheckpointError, EvqaError, RunError
from evqa.training.callbacks.checkpoints import Continuation, newest_whole
from evqa.training.folder import RunFolder
from evqa.training.kept_weights import check_origin
from evqa.training.model_with_head import METADATA
from evqa.training.module import ScoreModule
from evqa.training.plan import RunPlan

REMEDY = "Remove the file; the same command then continues from the one before, or begins anew."


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a life begins: behind a step of a checkpoint, or without one at the beginning."""

    checkpoint: Path | None
    epoch: int = 0
    step: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)  # of the checkpoint


def start_of(plan: RunPlan, folder: RunFolder, module: ScoreModule, warn: Callable[[str], None]) -> Start:
    """Find the newest checkpoint of this very run that can be continued from.

    Raises:
        RunError: there is one, and resume=never.
        CheckpointError: it belongs to another run or does not fit the model.
    """
    has_checkpoints = any((folder.checkpoints / f"{name}.ckpt").exists() for name in ("last", "previous"))
    if has_checkpoints and not plan.may_resume:
        raise RunError(
            f"{folder.path} holds an unfinished run and resume=never. Remove the folder, or use resume=auto."
        )
    found = newest_whole(folder.checkpoints, warn, mapped=plan.trainer.shards)
    if found is None:
        if has_checkpoints:
            warn(f"{folder.path}: no checkpoint can be continued from; the training begins anew.")
        return Start(checkpoint=None)
    check_origin(found.path, found.state, plan.recorded)
    _check_fits(found, module)
    epoch, step = found.state["epoch"], found.state["global_step"]
    return Start(checkpoint=found.path, epoch=epoch, step=step, metadata=found.state[METADATA])


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
