"""`evqa.load`: from a place that holds a scorer, or the name of a published one, to a scorer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from evqa.config.paths import conf_folder, group_folders, group_options
from evqa.errors import ConfigError
from evqa.scoring.computation import find_device
from evqa.scoring.merged import is_export, load_export
from evqa.scoring.places import load_run
from evqa.scoring.published import is_checkpoint, load_checkpoint, load_named
from evqa.scoring.scorer import Scorer

GROUP = "scorer"  # in conf/


def load(
    place: str | os.PathLike[str],
    *,
    device: str = "auto",
    checkpoint: str = "best",
    overrides: Sequence[str] = (),
    modal: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> Scorer:
    """Make a scorer of a run folder, a merged folder, a published checkpoint with its own head, or a scorer's name.

    place: a text that is a name in conf/scorer means that scorer; a folder of this name is given as a Path.
    device: auto (as the run's `trainer.accelerator` says; else a GPU where there is one), or a torch device.
    checkpoint: best, last or a file; of a run folder only. overrides: KEY=VALUE for places that have changed; of a
        named scorer, any key. modal: a part of the modalities that the model reads. batch_size: items a forward pass.
    workers: files read at a time.

    Raises:
        ConfigError, RunError, CheckpointError, FileError: a sentence on what cannot be used.
    """
    find_device(device, accelerator="auto")  # a wrong name is told before gigabytes are read
    own = {"data.batch_size": batch_size, "data.workers": workers, "trainer.accelerator": _accelerator(device)}
    lines = [*overrides, *(f"{key}={value}" for key, value in own.items() if value is not None)]
    if isinstance(place, str) and place in scorer_names():
        _check_no_checkpoint(place, checkpoint)
        return load_named(place, overrides=lines, modal=modal, device=device)
    folder = Path(place)
    if is_export(folder):
        _check_no_checkpoint(folder, checkpoint)
        return load_export(folder, overrides=lines, modal=modal, device=device)
    if (folder / "config.yaml").exists():
        run = load_run(folder, checkpoint=checkpoint, overrides=lines, device=device)
        return run.as_scorer(modal=modal, device=device)
    if is_checkpoint(folder):
        _check_no_checkpoint(folder, checkpoint)
        return load_checkpoint(folder, overrides=lines, modal=modal, device=device)
    raise ConfigError([_nothing_there(place)])


def scorer_names() -> list[str]:
    """The published scorers that evqa knows by name."""
    return group_options(group_folders(conf_folder())[GROUP])


def _accelerator(device: str) -> str | None:
    return None if device == "auto" else "cpu" if device == "cpu" else "gpu"


def _check_no_checkpoint(place: object, checkpoint: str) -> None:
    if checkpoint != "best":
        raise ConfigError([f"--ckpt {checkpoint}: {place} is no run folder and holds no choice of checkpoints."])


def _nothing_there(place: object) -> str:
    path = Path(str(place))
    found = "holds no scorer" if path.is_dir() else "is no folder" if path.exists() else "is not there"
    is_model = str(place) in group_options(group_folders(conf_folder())["model"])
    trains = f" A run of this model: evqa train model={place}." if is_model else ""
    return (
        f"{place}: {found}. A scorer is a run folder (runs/<experiment>/<name>, with config.yaml), a folder that "
        "evqa.merge wrote (with evqa.json), a published checkpoint that gives scores (with config.json), or "
        f"one of these names: {', '.join(scorer_names())}.{trains}"
    )
