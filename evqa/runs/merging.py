"""`python -m evqa.merge`: a finished run as a standard folder that others can load."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from evqa import __version__
from evqa.config.environment import hidden
from evqa.errors import RunError
from evqa.files.terminal import terminal
from evqa.heads.base import Head
from evqa.models.hub import HEAD_FILE
from evqa.runs.build import build
from evqa.runs.load import LoadedRun, load_run
from evqa.runs.model_card import model_card
from evqa.runs.scoring import read_record
from evqa.tuning import merge_adapters, save_adapter

SETTINGS_FILE = "evqa.json"
EXPORTED_NODES = ("model", "modal", "frames", "audio", "head", "lora")  # of config.yaml; data and places stay at home


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
    run = load_run(path, checkpoint=checkpoint, overrides=overrides, full_precision=True)
    if not run.folder.is_finished:
        raise RunError(f"{path}: the run is not finished, so its card would have no metrics. Run it to its end first.")
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        about = write_scorer(run, temporary, adapter=adapter)
        (temporary / "README.md").write_text(model_card(about, _records(run)), encoding="utf-8")
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    terminal().print(f"Exported: {out}")
    return out


def write_scorer(run: LoadedRun, folder: Path, *, adapter: bool) -> dict[str, Any]:
    """Write weights, head and `evqa.json`; returns the content of the last."""
    model, head, tuning = run.scorer.model, run.scorer.head, build(run.config.lora)
    head_state = _published_head(head)
    about = describe(run, form="adapter" if adapter else "merged")
    if adapter:
        save_adapter(model, tuning, folder, base=about["base"])
    else:
        merge_adapters(model)
        model.export(folder, head_state=head_state)
    if head_state:
        _save(head_state, folder / HEAD_FILE)
    (folder / SETTINGS_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return about


def _published_head(head: Head) -> dict[str, Tensor]:
    """The weights of a regression head, its output brought to 0-100 as in published checkpoints."""
    factor = 100.0 / float(getattr(head, "scale", 100.0))
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    return {name: tensor * factor if name.startswith("fc2.") else tensor for name, tensor in state.items()}


def describe(run: LoadedRun, *, form: str) -> dict[str, Any]:
    """State what the weights need: architecture, base, preprocessing, prompt and scale; no places of this machine."""
    config = {name: OmegaConf.to_container(run.config[name], resolve=False) for name in EXPORTED_NODES}
    scorer = run.scorer
    return {
        "evqa": __version__,
        "form": form,
        "base": hidden(_without_folders(scorer.model.base_name())),
        "label": dataclasses.asdict(run.module.scale),
        "clip": dataclasses.asdict(scorer.model.preparer.clip),
        "prompt": dataclasses.asdict(scorer.prompt),
        "config": config | {"model": _portable(run.config.model)},
    }


def _portable(node: DictConfig) -> dict[str, Any]:
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=False)  # type: ignore[assignment]
    checkpoint = plain.get("checkpoint")
    return plain | ({"checkpoint": _without_folders(checkpoint)} if isinstance(checkpoint, str) else {})


def _without_folders(name: str) -> str:
    """Keep a hub name, and only the last component of a local folder."""
    return Path(name).name if Path(name).expanduser().is_dir() else name


def _save(state: dict[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file(state, file, metadata={"format": "pt"})


def _records(run: LoadedRun) -> list[dict[str, Any]]:
    """The evaluation records of the run, the validation split first."""
    files = sorted((run.folder.path / "predictions").glob("*.json"), key=lambda file: (file.stem != "val", file.stem))
    return [{"name": file.stem, **read_record(file)} for file in files]
