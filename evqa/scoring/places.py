"""From a finished run's folder back to a scorer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evqa.config.environment import hidden
from evqa.config.saved import checked_saved
from evqa.errors import CheckpointError, RunError
from evqa.files.content import content_hash
from evqa.files.terminal import terminal
from evqa.media.spec import described
from evqa.scoring.assembly import assemble, restricted
from evqa.scoring.calibration import FoundCalibration, find_calibration
from evqa.scoring.computation import find_device
from evqa.scoring.scorer import Scorer
from evqa.scoring.training_labels import read_training_labels
from evqa.training.build import BuiltModel, build_model, build_pipeline, build_scoring
from evqa.training.callbacks.checkpoint_files import read_checkpoint
from evqa.training.folder import RunFolder
from evqa.training.kept_weights import Weights, check_origin, weights_to_score
from evqa.training.model_with_head import METADATA, ModelWithHead
from evqa.training.plan import RunPlan, read_plan

MOVABLE = ("data.", "trainer.accelerator", "trainer.precision", "model.checkpoint")  # what another machine may change


@dataclass(frozen=True)
class LoadedRun:
    """A run that is ready to score, with the checkpoint that it scores with.

    Its configuration may come from anybody: it chooses what is read, but scoring writes only to places that the user
    named, and to relative ones below the working directory.
    """

    folder: RunFolder
    plan: RunPlan
    built: BuiltModel
    module: ModelWithHead
    checkpoint: Path
    note: str | None = None  # why it is not the best one, where that was asked for
    named: tuple[str, ...] = ()  # keys that the user has set for this command
    metadata: Mapping[str, Any] = field(default_factory=dict)  # of the checkpoint

    def may_write(self, key: str) -> bool:
        """Whether scoring may write to the place at a key of the configuration; where it may not, that is said."""
        return may_write(self.plan.recorded, key, self.named) or tell_only_read(self.plan.recorded, key)

    def as_scorer(self, *, modal: str | None = None, device: str = "auto") -> Scorer:
        """Make a scorer of the run, whose module is changed by it (see `assemble`).

        Raises:
            ConfigError: the run's model has no vision or audio encoder for a modality; there is no such device.
        """
        clip = restricted(self.built.model.preparer.clip, modal, trained=self.plan.modal)
        pipeline = build_pipeline(self.plan, self.built, clip=clip)
        labels, found = read_training_labels(self.folder.path), self.find_calibration(modal)
        return assemble(
            self.plan, self.module, pipeline, device=device, modal=modal, training_labels=labels, found=found
        )

    def find_calibration(self, modal: str | None = None) -> FoundCalibration:
        """The run's calibration, if it is of this checkpoint and modality (None: all). Raises FileError."""
        return find_calibration(
            self.folder.path,
            scale=self.module.scale,
            modal=modal or self.plan.modal,
            checkpoint_sha256=partial(content_hash, self.checkpoint),
        )


def load_run(
    path: Path,
    *,
    checkpoint: str = "best",
    overrides: Sequence[str] = (),
    device: str = "auto",
    full_precision: bool = False,
) -> LoadedRun:
    """Rebuild a run's model and load its weights; `checkpoint` is best, last or a file.

    device: as in `find_device`. full_precision: put the adapters of a 4-bit run on the base's own weights (the same
    names, so the same checkpoint).

    Raises:
        RunError, CheckpointError, ConfigError: the folder, the weights or an override cannot be used.
    """
    folder = RunFolder(path)
    folder.check()
    config = checked_saved(folder.config, overrides, movable=MOVABLE)
    named = tuple(override.partition("=")[0] for override in overrides)
    place = "cpu"
    if not full_precision:  # an export reads no clips
        _only_read_elsewhere(config, named)
    elif config.lora.method == "qlora":
        config.lora.method = "lora"
    plan = read_plan(config)
    if not full_precision:  # nor does it need a GPU
        place = str(find_device(device, accelerator=plan.trainer.accelerator))
    weights = _weights(folder, checkpoint)
    check_origin(weights.path, weights.state, folder.read_config())
    built = build_model(plan, device=place)
    check_preprocessing(weights.path, weights.state[METADATA]["clip"], built)
    module = build_scoring(plan, built)
    try:
        module.load_trained(weights.state)
    except CheckpointError as error:
        raise CheckpointError(f"{weights.path}: {error}") from None
    return LoadedRun(folder, plan, built, module, weights.path, weights.note, named, weights.state[METADATA])


def _weights(folder: RunFolder, checkpoint: str) -> Weights:
    if checkpoint == "best":
        return weights_to_score(folder)
    file = folder.checkpoints / f"{checkpoint}.ckpt" if checkpoint == "last" else Path(checkpoint)
    if checkpoint == "last" and folder.is_finished and not file.exists():
        raise RunError(
            f"{folder.path}: no checkpoint last.ckpt: a finished run keeps the best weights alone, unless it was "
            "trained with callbacks.checkpoints.keep=all. Leave --ckpt away."
        )
    if not file.exists():
        raise RunError(
            f"{folder.path}: no checkpoint {file.name}. Train the run to its end, or choose another one with --ckpt."
        )
    return Weights(path=file, state=read_checkpoint(file))


def may_write(config: DictConfig, key: str, named: Sequence[str]) -> bool:
    """Whether the user has set a place for this command, or it is relative and a folder below the working directory.

    Links are followed: a run folder that came from elsewhere may hold some. A folder that is not there is not made: the
    caller's directory is not the training's.
    """
    if any(key == one or key.startswith(f"{one}.") for one in named):
        return True
    place = OmegaConf.select(config, key)
    return _is_below_here(place) and Path(str(place)).is_dir()


def _is_below_here(place: object) -> bool:
    if place is None or Path(str(place)).is_absolute():
        return False
    return Path(str(place)).resolve().is_relative_to(Path.cwd().resolve())


def _only_read_elsewhere(config: DictConfig, named: Sequence[str]) -> None:
    key = "data.cache.folder"
    if not OmegaConf.select(config, key) or may_write(config, key, named):
        return
    if _is_below_here(OmegaConf.select(config, key)):
        OmegaConf.update(config, key, None)
        return
    tell_only_read(config, key)
    OmegaConf.update(config, "data.cache.fill", "never", force_add=True)


def tell_only_read(config: DictConfig, key: str) -> bool:
    """Say that scoring does not write to a place, where there is something to read; returns False."""
    place = OmegaConf.select(config, key)
    if not _is_below_here(place):
        note = f"Note: {key}={place} is the choice of the run's file and only read."
        terminal(stderr=True).print(hidden(f"{note} To let scoring write there: --override {key}={place}"))
    return False


def check_preprocessing(file: Path, trained: Mapping[str, Any], built: BuiltModel) -> None:
    """Refuse to score with another reading of the media than the weights were trained with.

    trained: what `evqa.media.clip.described` gave in the training.

    Raises:
        CheckpointError: it differs from what the settings give now.
    """
    here, there = (json.loads(json.dumps(spec)) for spec in (described(built.model.preparer.clip), trained))
    for spec in (here, there):
        for name in ("limits", "reader"):  # they decide on failures, not on pixels
            spec.pop(name, None)
        if spec.get("frames") is None:
            spec["resize"] = None  # older checkpoints state one, although it changes nothing
    if here != there:
        changed = sorted(name for name in here if here[name] != there.get(name))
        raise CheckpointError(
            f"{file}: trained with other preprocessing ({', '.join(changed)}): {[there.get(n) for n in changed]}, but "
            f"the settings say {[here[n] for n in changed]}. Restore the file of the settings."
        )
