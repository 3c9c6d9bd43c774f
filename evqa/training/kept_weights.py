"""Which of a run's checkpoints is scored with, and whether it is that run's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from evqa.config.identity import difference
from evqa.errors import CheckpointError, RunError
from evqa.training.callbacks.checkpoint_files import best_of, read_checkpoint
from evqa.training.folder import RunFolder
from evqa.training.model_with_head import METADATA

NO_BEST = "no validation had a value, so there is no best checkpoint and the last one was scored"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A checkpoint to score with. note: why it is not the best one, where that was asked for."""

    path: Path
    state: dict[str, Any]
    note: str | None = None


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


def weights_to_score(folder: RunFolder, *, mapped: bool = False) -> Weights:
    """Read the best checkpoint, or the last one where no validation had a value (e.g. fewer than three items).

    mapped: see `read_checkpoint`.

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
        if not best.exists() and best_of(state := read_checkpoint(last, mapped=mapped)) is None:
            return Weights(path=last, state=state, note=NO_BEST)
        return Weights(path=best, state=read_checkpoint(best, mapped=mapped))
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. To train these weights again, remove {folder.path / 'predictions' / 'finished'} where it exists "
            f"and repeat the training's command{'; --ckpt last scores the last weights instead' * last.exists()}."
        ) from None
