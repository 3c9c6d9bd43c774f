"""From a finished run's folder back to a scorer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
from omegaconf import DictConfig, OmegaConf

from evqa.config.environment import hidden
from evqa.config.saved import checked_saved
from evqa.errors import CheckpointError, ConfigError, RunError
from evqa.files.terminal import terminal
from evqa.media.clip import ClipSpec, described
from evqa.training.build import Scorer, build, build_datamodule, build_module, build_scorer
from evqa.training.callbacks.checkpoint_files import read_checkpoint
from evqa.training.datamodule import ScoreDataModule
from evqa.training.folder import RunFolder
from evqa.training.kept_weights import Weights, check_origin, weights_to_score
from evqa.training.module import METADATA, ScoreModule
from evqa.types import Record

MOVABLE = ("data.", "trainer.accelerator", "trainer.precision", "model.checkpoint")  # what another machine may change


@dataclass(frozen=True)
class LoadedRun:
    """A run that is ready to score, with the checkpoint that it scores with.

    Its configuration may come from anybody: it chooses what is read, but scoring writes only to places that the user
    named, and to relative ones below the working directory.
    """

    folder: RunFolder
    config: DictConfig
    scorer: Scorer
    module: ScoreModule
    checkpoint: Path
    note: str | None = None  # why it is not the best one, where that was asked for
    named: tuple[str, ...] = ()  # keys that the user has set for this command
    metadata: Mapping[str, Any] = field(default_factory=dict)  # of the checkpoint

    def may_write(self, key: str) -> bool:
        """Whether scoring may write to the place at a key of the configuration; where it may not, that is said."""
        return may_write(self.config, key, self.named) or tell_only_read(self.config, key)

    def clip(self, modal: str | None) -> ClipSpec:
        """Return what to read for a modality that the run was built for, or a part of it.

        Raises:
            ConfigError: the run's model has no vision or audio encoder for it.
        """
        trained, asked = self.config.modal.name, modal or self.config.modal.name
        if not set(asked) <= set(trained):
            raise ConfigError([f"--modal {asked}: the run was trained with modal={trained}; choose a part of that."])
        spec = self.scorer.model.preparer.clip
        return dataclasses.replace(
            spec, frames=spec.frames if "v" in asked else None, audio=spec.audio if "a" in asked else None
        )

    def datamodule(self, splits: dict[str, tuple[Record, ...]], modal: str | None) -> ScoreDataModule:
        """Join records with the run's own way of reading them."""
        return build_datamodule(self.config, self.scorer, splits, (), self.module.scale, clip=self.clip(modal))

    def trainer(self) -> lightning.Trainer:
        """Make a trainer that scores on one device, at the run's precision."""
        trainer: lightning.Trainer = build(self.config.trainer).build(callbacks=[], loggers=[], scoring=True)
        return trainer


def load_run(
    path: Path, *, checkpoint: str = "best", overrides: Sequence[str] = (), full_precision: bool = False
) -> LoadedRun:
    """Rebuild a run's model and load its weights; `checkpoint` is best, last or a file.

    full_precision: put the adapters of a 4-bit run on the base's own weights (the same names, so the same checkpoint).

    Raises:
        RunError, CheckpointError, ConfigError: the folder, the weights or an override cannot be used.
    """
    folder = RunFolder(path)
    folder.check()
    config = checked_saved(folder.config, overrides, movable=MOVABLE)
    named = tuple(override.partition("=")[0] for override in overrides)
    if not full_precision:  # an export needs no GPU, and reads no clips
        build(config.trainer).check_devices(scoring=True)
        _only_read_elsewhere(config, named)
    if full_precision and config.lora.method == "qlora":
        config.lora.method = "lora"
    weights = _weights(folder, checkpoint)
    check_origin(weights.path, weights.state, folder.read_config())
    scorer = build_scorer(config)
    _check_preprocessing(weights.path, weights.state, scorer)
    module = build_module(config, scorer, build(config.data.label))
    try:
        module.load_trained(weights.state)
    except CheckpointError as error:
        raise CheckpointError(f"{weights.path}: {error}") from None
    return LoadedRun(folder, config, scorer, module, weights.path, weights.note, named, weights.state[METADATA])


def _weights(folder: RunFolder, checkpoint: str) -> Weights:
    if checkpoint == "best":
        return weights_to_score(folder)
    file = folder.checkpoints / f"{checkpoint}.ckpt" if checkpoint == "last" else Path(checkpoint)
    if not file.exists():
        raise RunError(
            f"{folder.path}: no checkpoint {file.name}. Train the run to its end, or choose another one with --ckpt."
        )
    return Weights(path=file, state=read_checkpoint(file))


def may_write(config: DictConfig, key: str, named: Sequence[str]) -> bool:
    """Whether a place was set by the user for this command, or is relative and lies below the working directory.

    Links are followed: a run folder that came from elsewhere may hold some.
    """
    if any(key == one or key.startswith(f"{one}.") for one in named):
        return True
    place = OmegaConf.select(config, key)
    if place is None or Path(str(place)).is_absolute():
        return False
    return Path(str(place)).resolve().is_relative_to(Path.cwd().resolve())


def _only_read_elsewhere(config: DictConfig, named: Sequence[str]) -> None:
    key = "data.cache.folder"
    if OmegaConf.select(config, key) and not may_write(config, key, named):
        tell_only_read(config, key)
        OmegaConf.update(config, "data.cache.fill", "never", force_add=True)


def tell_only_read(config: DictConfig, key: str) -> bool:
    """Say that scoring does not write to a place; returns False."""
    place = OmegaConf.select(config, key)
    note = f"Note: {key}={place} is the choice of the run's file and only read."
    terminal(stderr=True).print(hidden(f"{note} To let scoring write there: --override {key}={place}"))
    return False


def _check_preprocessing(file: Path, state: dict[str, Any], scorer: Scorer) -> None:
    """Refuse to score with another reading of the media than the weights were trained with."""
    here, there = described(scorer.model.preparer.clip), dict(state[METADATA]["clip"])
    for spec in (here, there):
        del spec["limits"], spec["reader"]  # they decide on failures, not on pixels
        if spec["frames"] is None:
            spec["resize"] = None  # older checkpoints state one, although it changes nothing
    if here != there:
        changed = sorted(name for name in here if here[name] != there.get(name))
        raise CheckpointError(
            f"{file}: trained with other preprocessing ({', '.join(changed)}): {[there.get(n) for n in changed]}, but "
            f"config.yaml says {[here[n] for n in changed]}. Restore the run's config.yaml."
        )
