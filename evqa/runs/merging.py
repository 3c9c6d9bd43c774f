"""`python -m evqa.merge`: a finished run as a standard folder that others can load."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from evqa import __version__
from evqa.config.environment import hidden
from evqa.config.paths import calibration_file
from evqa.errors import RunError
from evqa.files.plain import write_json
from evqa.files.progress import BEGINS_ANEW, staged
from evqa.files.terminal import terminal
from evqa.files.whole import whole_folder, write_whole
from evqa.heads.base import Head
from evqa.media.sampling import FrameSampling
from evqa.media.spec import described
from evqa.models.weight_files import HEAD_FILE
from evqa.runs.model_card import model_card, usage
from evqa.scoring.calibration import CHECKPOINT, NO_CALIBRATION
from evqa.scoring.merged import EXPORTED_NODES
from evqa.scoring.places import LoadedRun, load_run
from evqa.scoring.records import read_record
from evqa.scoring.training_labels import KEY, read_training_labels
from evqa.training.folder import EXPORT_FILE
from evqa.training.tuning import merge_adapters, save_adapter

VERSIONED = ("torch", "transformers", "peft", "safetensors")
EXAMPLE_SECONDS, EXAMPLE_FPS = (60, 5), 30


def export_run(
    path: Path, *, out: Path, adapter: bool = False, checkpoint: str = "best", overrides: Sequence[str] = ()
) -> Path:
    """Write weights, head, settings and model card to a new folder, whole or not at all; returns the folder.

    Raises:
        RunError: the run is not finished, or the folder is in use.
        ConfigError: `adapter` was asked for and the run trained none.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"--out {out}: must be a new or empty folder.")
    with staged(("loading the run", "merging and writing the weights"), then=BEGINS_ANEW) as begin_next:
        run = load_run(path, checkpoint=checkpoint, overrides=overrides, full_precision=True)
        if not run.folder.is_finished:
            raise RunError(
                f"{path}: the run is not finished, so its card would have no metrics. Run it to its end first."
            )
        begin_next()
        with whole_folder(out) as folder:
            about = write_scorer(run, folder, adapter=adapter)
            write_whole(folder / "README.md", model_card(about, _records(run)))
            share_modes(folder)
    terminal().print(f"Exported: {out}\n{usage(about)}")
    return out


def share_modes(folder: Path) -> None:
    """Give every file the mode that the user's own files get; weights are written for their owner alone."""
    mode = (folder / "README.md").stat().st_mode
    for file in folder.iterdir():
        file.chmod(mode)


def write_scorer(run: LoadedRun, folder: Path, *, adapter: bool) -> dict[str, Any]:
    """Write weights, head and `evqa.json`; returns the content of the last."""
    model, head, tuning = run.built.model, run.built.head, run.plan.tuning
    head_state = _published_head(head)
    about = describe(run, form="adapter" if adapter else "merged")
    if adapter:
        save_adapter(model, tuning, folder, base=about["base"], revision=about["base_revision"])
    else:
        merge_adapters(model)
        model.export(folder, head_state=head_state)
    if head_state:
        _save(head_state, folder / HEAD_FILE)
    about |= _carry_calibration(run, folder)
    write_json(folder / EXPORT_FILE, about)
    return about


def _carry_calibration(run: LoadedRun, folder: Path) -> dict[str, Any]:
    """Copy the run's calibration, if it is of this checkpoint; returns what ties it to the weights."""
    found = NO_CALIBRATION if run.folder is None else run.find_calibration()
    if found.problem:
        terminal(stderr=True).print(f"Note: {found.problem}, and not exported.")
    if found.calibration is None:
        return {}
    shutil.copyfile(calibration_file(run.folder.path), calibration_file(folder))
    return {CHECKPOINT: found.calibration.checkpoint_sha256}


def _published_head(head: Head) -> dict[str, Tensor]:
    """The weights of a regression head, its output brought to 0-100 as in published checkpoints."""
    factor = 100.0 / float(getattr(head, "scale", 100.0))
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    return {name: tensor * factor if name.startswith("fc2.") else tensor for name, tensor in state.items()}


def describe(run: LoadedRun, *, form: str) -> dict[str, Any]:
    """State what the weights need: architecture, base, preprocessing, prompt and scale; no places of this machine."""
    config = {name: OmegaConf.to_container(run.plan.recorded[name], resolve=False) for name in EXPORTED_NODES}
    model = run.built.model
    base, revision = _base(model.base_name())
    frames = model.preparer.clip.frames
    terms = model.license if model.license is not None and model.license.holds_for(base) else None
    return {
        "evqa": __version__,
        "form": form,
        "base": hidden(base),
        "base_revision": revision,
        "license": None if terms is None else {**terms.hub_fields, "note": terms.note},
        "class": model.published_class(),
        "use": model.how_to_load(),
        "versions": {name: metadata.version(name) for name in VERSIONED},
        "label": dataclasses.asdict(run.module.scale),
        "precision": str(run.plan.trainer.precision),
        "seed": run.plan.recorded.seed,  # what is random in a base without published weights follows from it
        "clip": described(model.preparer.clip),
        "frame_seconds": _frame_seconds(None if frames is None else frames.sampling),
        "prompt": dataclasses.asdict(run.built.prompt),
        "config": config | {"model": _portable(run.plan.recorded.model)},
        **({} if run.folder is None else {KEY: list(read_training_labels(run.folder.path))}),
    }


def _base(name: str) -> tuple[str, str | None]:
    """Name and revision of a hub's base; of a folder its last component alone."""
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser().resolve().name, None
    base, _, revision = name.partition("@")
    return base, revision or None


def _frame_seconds(sampling: FrameSampling | None) -> dict[str, list[float]]:
    """When the frames of a long and of a short clip are taken, in seconds, at 30 frames a second."""
    examples = {}
    for length in EXAMPLE_SECONDS if sampling else ():
        times = [i / EXAMPLE_FPS for i in range(length * EXAMPLE_FPS)]
        numbers = sampling.choose(times, end_seconds=float(length), average_fps=float(EXAMPLE_FPS))  # type: ignore[union-attr]
        examples[f"{length} s"] = [round(times[number], 2) for number in numbers]
    return examples


def _portable(node: DictConfig) -> dict[str, Any]:
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=False)  # type: ignore[assignment]
    checkpoint = plain.get("checkpoint")
    return plain | ({"checkpoint": _base(checkpoint)[0]} if isinstance(checkpoint, str) else {})


def _save(state: dict[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file(state, file, metadata={"format": "pt"})


def _records(run: LoadedRun) -> list[dict[str, Any]]:
    """The evaluation records of the run, the validation split first."""
    files = sorted((run.folder.path / "predictions").glob("*.json"), key=lambda file: (file.stem != "val", file.stem))
    return [{"name": file.stem, **read_record(file)} for file in files]
