"""A folder that `evqa.merge` wrote, its own or a received one, back to a scorer.

Its `evqa.json` is data: it names what a run's config.yaml names, and is checked as one; nothing in it chooses what code
runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from evqa.config.compose import compose
from evqa.config.saved import checked_values
from evqa.errors import CheckpointError, FileError
from evqa.heads.base import Head
from evqa.models.safety import about, check_floating, check_head, file_of, read_foreign
from evqa.models.weight_files import HEAD_FILE, WeightFile, main_files
from evqa.scoring.assembly import assemble, restricted
from evqa.scoring.calibration import CHECKPOINT, find_calibration
from evqa.scoring.computation import find_device
from evqa.scoring.places import check_preprocessing
from evqa.scoring.scorer import Scorer
from evqa.scoring.training_labels import KEY, checked_labels
from evqa.training.build import BuiltModel, build_model, build_pipeline, build_scoring
from evqa.training.folder import EXPORT_FILE
from evqa.training.model_with_head import ModelWithHead
from evqa.training.plan import RunPlan, read_plan
from evqa.training.tuning import ADAPTER_WEIGHTS, exported_names

# Of config.yaml; data and places stay at home.
EXPORTED_NODES = ("model", "modal", "frames", "audio", "prompt", "head", "lora")
FORMS = ("merged", "adapter")
MOVABLE = ("data.", "trainer.accelerator", "trainer.precision")  # what another machine may change
WHOLE = {"_target_": "evqa.training.tuning.Tuning", "method": "full"}  # no adapters


@dataclass(frozen=True)
class Export:
    """What `evqa.json` says, with plain values of the expected kinds.

    form: merged or adapter. config: the exported nodes. clip: the fields of the training's `ClipSpec`.
    checkpoint_sha256: of the checkpoint that it was made of, where the folder holds a calibration of it.
    """

    file: Path
    form: str
    config: Mapping[str, Any]
    label: Mapping[str, Any]
    clip: Mapping[str, Any]
    precision: str
    seed: int
    training_labels: tuple[float, ...]
    checkpoint_sha256: object

    @property
    def folder(self) -> Path:
        """Where the weights lie."""
        return self.file.parent


def load_export(folder: Path, *, overrides: Sequence[str] = (), modal: str | None = None, device: str) -> Scorer:
    """Build the model that a merged folder describes, read its weights, and make a scorer of it.

    Raises:
        CheckpointError, RunError, ConfigError: the folder or an override cannot be used.
    """
    export = read_export(folder)
    config = _configuration(export, overrides)
    plan = read_plan(config)
    parts = _build(export, plan, device=str(find_device(device, accelerator=plan.trainer.accelerator)))
    check_preprocessing(export.file, export.clip, parts)
    module = build_scoring(plan, parts)
    if export.form == "adapter":
        _fill(module.model, exported_names(module.model), _read_file(export.folder, ADAPTER_WEIGHTS), export.folder)
    elif "checkpoint" not in config.model:
        names = {parts.model.key_adapter.key_of(name): name for name in parts.model.state_dict()}
        with about():
            files = main_files(export.folder)
        _fill(module.model, names, _read(*files), export.folder)
    _load_head(export.folder, module)
    clip = restricted(parts.model.preparer.clip, modal, trained=plan.modal)
    pipeline = build_pipeline(plan, parts, clip=clip)
    found = find_calibration(
        export.folder,
        scale=module.scale,
        modal=modal or plan.modal,
        checkpoint_sha256=lambda: export.checkpoint_sha256,
    )
    labels = export.training_labels
    return assemble(plan, module, pipeline, device=device, modal=modal, training_labels=labels, found=found)


def read_export(folder: Path) -> Export:
    """Read `evqa.json`.

    Raises:
        CheckpointError: it is no such file, damaged, or lacks what a scorer needs.
    """
    with about():
        file = file_of(folder, EXPORT_FILE)
        content = read_foreign(file)
        kinds = {"form": str, "config": dict, "label": dict, "clip": dict}
        wrong = [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]
        wrong = wrong or [
            f"config.{name}" for name in EXPORTED_NODES if not isinstance(content["config"].get(name), dict)
        ]
        if wrong or content["form"] not in FORMS:
            problem = f"{', '.join(wrong)} missing or of another kind" if wrong else f"form={content['form']!r}"
            raise FileError(file, f"is not what evqa.merge writes: {problem}")
        labels = checked_labels(content.get(KEY, []), file)
    return Export(
        file,
        form=content["form"],
        config={name: content["config"][name] for name in EXPORTED_NODES},
        label=content["label"],
        clip=content["clip"],
        precision=content.get("precision", "32"),
        seed=content.get("seed", 0),
        training_labels=labels,
        checkpoint_sha256=content.get(CHECKPOINT),
    )


def _configuration(export: Export, overrides: Sequence[str]) -> DictConfig:
    """Put the exported nodes into evqa's own default configuration, and check all of it as a received run's."""
    values: dict[str, Any] = OmegaConf.to_container(compose(), resolve=False)  # type: ignore[assignment]
    values |= {**export.config, "seed": export.seed}
    values["data"]["label"] = {"_target_": "evqa.types.LabelScale", **export.label}
    values["data"]["cache"]["folder"] = None  # scoring writes only where the user says
    values["trainer"] |= {"accelerator": "auto", "precision": export.precision}
    is_merged, model = export.form == "merged", values["model"]
    if is_merged:
        values["lora"] = WHOLE
    elif values["lora"].get("method") == "qlora":
        values["lora"] |= {"method": "lora"}  # the names are the same on the base in full precision
    if is_merged and "checkpoint" in model:
        model |= {"checkpoint": str(export.folder)} | {key: None for key in ("revision", "size") if key in model}
    movable = MOVABLE if is_merged else (*MOVABLE, "model.checkpoint")
    return checked_values(values, export.file, overrides, movable=movable)


def _build(export: Export, plan: RunPlan, *, device: str) -> BuiltModel:
    try:
        return build_model(plan, device=device)
    except CheckpointError as error:
        if export.form == "merged":
            raise
        raise CheckpointError(
            f"{error}\n{export.folder} holds what was trained on the base {plan.recorded.model.checkpoint}. Where that "
            "lies elsewhere, name it: --override model.checkpoint=FOLDER"
        ) from error


def _load_head(folder: Path, module: ModelWithHead) -> None:
    """Read the weights of a head that has some; they are stored on a scale of 0-100."""
    head: Head = module.head
    if not any(True for _ in head.parameters()):
        return
    state = _read_file(folder, HEAD_FILE)
    with about():
        check_head(folder / HEAD_FILE, state, width=module.model.width)
    load = getattr(head, "load_published", None)
    if load is None:
        raise CheckpointError(f"{folder}: evqa cannot read the weights of a {type(head).__name__} again.")
    load(state)


def _read_file(folder: Path, name: str) -> dict[str, Tensor]:
    """Read a file of tensors. Raises CheckpointError where it is not there, or damaged."""
    with about():
        file = file_of(folder, name)
        if not file.exists():
            raise FileError(file, "is not there; an export of this kind has it")
    return _read(WeightFile(file))


def _read(*files: WeightFile) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    with about():
        for file in files:
            file.each(file.tensors, lambda key, tensor: state.update({key: tensor.clone()}))
            for key in file.tensors:
                check_floating(file.path, key, state[key])
    return state


@torch.no_grad()
def _fill(model: nn.Module, names: Mapping[str, str], state: Mapping[str, Tensor], folder: Path) -> None:
    """Copy stored tensors into a model. names: stored name -> the model's own.

    Raises:
        CheckpointError: tensors are missing, unexpected, or of another shape.
    """
    own = model.state_dict()
    missing, unexpected = sorted(names.keys() - state.keys()), sorted(state.keys() - names.keys())
    wrong = [key for key in names.keys() & state.keys() if own[names[key]].shape != state[key].shape]
    if missing or unexpected or wrong:
        raise CheckpointError(
            f"{folder}: the weights do not fit the model of {EXPORT_FILE}: missing {missing[:5]} ({len(missing)}), "
            f"unexpected {unexpected[:5]} ({len(unexpected)}), other shapes {sorted(wrong)[:5]} ({len(wrong)})"
        )
    for key, name in names.items():
        own[name].copy_(state[key])


def is_export(folder: Path) -> bool:
    """Whether a folder holds what `evqa.merge` writes."""
    return (folder / EXPORT_FILE).is_file()
