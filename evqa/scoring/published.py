"""Scorers that others have published: weights in the layout of a model, with a head of their own.

How they are scored with stands in conf/scorer/NAME.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from evqa.config.compose import compose
from evqa.config.environment import hidden
from evqa.config.overrides import read_overrides
from evqa.config.paths import conf_folder
from evqa.config.yaml_files import read_config
from evqa.errors import CheckpointError, ConfigError
from evqa.files.terminal import terminal
from evqa.heads.regression import RegressionHead
from evqa.models.safety import about, file_of, read_foreign
from evqa.scoring.assembly import assemble
from evqa.scoring.computation import find_device
from evqa.scoring.scorer import Scorer
from evqa.training.build import build_model, build_pipeline, build_scoring
from evqa.training.plan import read_plan

# `model_type` of config.json -> the scorers that such weights may be; the first one is taken.
NAMES = {
    "videollama2_qwen2": ("lmm_evqa",),
    "llava_qwen": ("vqa2_ugc", "vqa2_streaming", "vqa2_image", "vqa2_assistant"),
}
CHECKPOINT, FRAMES = "model.checkpoint", "frames.count"


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a model in a published layout."""
    return (folder / "config.json").is_file()


def load_checkpoint(folder: Path, *, overrides: Sequence[str], modal: str | None, device: str) -> Scorer:
    """Load a folder whose kind of model tells which published scorer it is.

    Raises:
        CheckpointError: another kind of model, or one without a head.
    """
    name, *others = names_of(folder)
    if others:
        _say_what_is_assumed(folder, name, others)
    return load_named(name, overrides=[f"{CHECKPOINT}={_quoted(folder)}", *overrides], modal=modal, device=device)


def names_of(folder: Path) -> tuple[str, ...]:
    """Name the scorers of conf/scorer that a folder's weights may be, the one that is taken first.

    Raises:
        CheckpointError: another kind of model.
    """
    with about():
        kind = str(read_foreign(file_of(folder, "config.json")).get("model_type"))
    if kind not in NAMES:
        raise CheckpointError(
            f"{folder} holds a model of type {kind!r} without evqa.json. Alone such weights give no scores: train a "
            f"head on them (model.checkpoint={folder}), or name a folder that evqa.merge wrote."
        )
    return NAMES[kind]


def _say_what_is_assumed(folder: Path, name: str, others: Sequence[str]) -> None:
    note = f"Note: {folder} does not say which of VQA²'s scorers it holds; it is read as {name}."
    choice = f"For {' or '.join(others)}: --scorer NAME --override {CHECKPOINT}={folder}"
    terminal(stderr=True).print(hidden(f"{note} {choice}"), markup=False)


def load_named(name: str, *, overrides: Sequence[str], modal: str | None, device: str) -> Scorer:
    """Load a scorer of conf/scorer.

    overrides: any key, as in a training; `model.checkpoint` names the weights' folder.
    modal: encoders that it leaves out are not built.

    Raises:
        ConfigError: no weights are named, or an override cannot be used.
        CheckpointError: the weights cannot be used, or have no head.
    """
    config = _configuration(name, [*overrides, *([f"modal={modal}"] if modal else [])])
    plan = read_plan(config)
    parts = build_model(plan, device=str(find_device(device, accelerator=plan.trainer.accelerator)))
    if isinstance(parts.head, RegressionHead) and not parts.model.head_state():
        raise CheckpointError(
            f"{config.model.checkpoint}: the weights have no regression head of their own (lm_head_reg.*), so they "
            f"give no scores. The scorer {name} needs the weights that its authors have fine-tuned."
        )
    module = build_scoring(plan, parts)
    return assemble(plan, module, build_pipeline(plan, parts), device=device)


def _configuration(name: str, overrides: list[str]) -> DictConfig:
    reading = read_overrides(overrides)
    given = {override.key_or_group: override.value() for override in reading.overrides}
    if CHECKPOINT not in given and not reading.problems and _has_no_weights(name):
        raise ConfigError(
            [f"The scorer {name}: its weights are not part of evqa. Name the folder they lie in: --override "
             f"{CHECKPOINT}=FOLDER (in Python: overrides=['{CHECKPOINT}=FOLDER'])."]
        )  # fmt: skip
    count = None if FRAMES in given else _num_frames(Path(str(given.get(CHECKPOINT))).expanduser())
    return compose([f"scorer={name}", *([] if count is None else [f"{FRAMES}={count}"]), *overrides])


def _has_no_weights(name: str) -> bool:
    """Whether a scorer's settings leave open where its weights lie."""
    return OmegaConf.is_missing(read_config(conf_folder() / f"scorer/{name}.yaml").model, "checkpoint")


def _num_frames(folder: Path) -> int | None:
    """The number of frames that the weights were trained with, where their folder states it; the original obeys it."""
    if not is_checkpoint(folder):
        return None
    with about():
        count = read_foreign(file_of(folder, "config.json")).get("num_frames")
    return count if isinstance(count, int) and count > 0 else None


def _quoted(folder: Path) -> str:
    """Write a path as Hydra reads a text with any characters."""
    text = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
