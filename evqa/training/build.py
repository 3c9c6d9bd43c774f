"""Build the model, its head and what reads the data, from a run's plan."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from omegaconf import OmegaConf

from evqa.config.environment import hidden
from evqa.errors import ConfigError
from evqa.heads.base import Head
from evqa.heads.regression import RegressionHead
from evqa.media.spec import ClipSpec, described
from evqa.models.base import RANDOM_WEIGHTS, Model
from evqa.models.compiling import compile_blocks
from evqa.models.four_bit import hold_in_four_bits
from evqa.models.kernels import liger_kernels, use_kernels
from evqa.prompts.prompt import Prompt
from evqa.training.batches import Pipeline
from evqa.training.conversations import check_conversations
from evqa.training.model_with_head import ModelWithHead
from evqa.training.order import seed_of
from evqa.training.plan import RunPlan
from evqa.training.tuning import Tuning, adapted_names, apply_tuning
from evqa.types import Failure, Record

if TYPE_CHECKING:  # lightning takes three seconds, and scoring does not need it
    from evqa.training.datamodule import ScoreDataModule
    from evqa.training.module import ScoreModule


@dataclass(frozen=True)
class BuiltModel:
    """A model with its head, ready to be trained or to score. later: what reads weights that are not there yet."""

    model: Model
    head: Head
    prompt: Prompt
    later: list[Callable[[], None]] = field(default_factory=list)


def build_model(plan: RunPlan, *, load: bool = True, device: str = "cpu", later: bool = False) -> BuiltModel:
    """Build model and head on a device; towers that `modal` leaves out are not built. Without `load` on the meta one.

    Random weights follow from the plan's seed alone, so that every process that builds the model has the same ones.
    later: a model that can be laid out without memory stays so, until what `BuiltModel.later` lists is called.
    """
    with seeded(plan.seed):
        return _build_model(plan, load=load, device=device, later=[] if later else None)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw all random numbers of the block from a seed; what is drawn outside neither changes it nor is changed."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def _build_model(plan: RunPlan, *, load: bool, device: str, later: list[Callable[[], None]] | None) -> BuiltModel:
    packed: list[Callable[[], None]] | None = [] if plan.tuning.method == "qlora" else None
    with torch.device("cpu" if load else "meta"):
        model = plan.make_model(plan.options(load=load, device=device, later=later if packed is None else packed))
        _read_packed(model, plan.tuning, packed or ())
        head = plan.make_head(model.width)
    batches = plan.data.batches
    model.preparer.clip = dataclasses.replace(model.preparer.clip, reader=batches.reader, limits=batches.limits)
    if load and isinstance(head, RegressionHead) and (state := model.head_state()):
        head.load_published(state)
    if load:  # random weights are drawn on the CPU, so that they do not depend on the device
        if not later:
            model.to(device)
        head.to(device)
    return BuiltModel(model, head, plan.prompt.fitted(plan.label, short=not model.reads_questions), later or [])


def _read_packed(model: Model, tuning: Tuning, later: Sequence[Callable[[], None]]) -> None:
    """Read weights that come to lie in 4 bits one after the other: the whole model is never held in 16.

    Random weights are drawn as ever, and packed when the model is moved to its device.
    """
    if later and model.base_name() != RANDOM_WEIGHTS:
        hold_in_four_bits(model, adapted_names(model, tuning))
    for read in later:
        read()


def build_scoring(plan: RunPlan, built: BuiltModel) -> ModelWithHead:
    """Apply the tuning recipe, so that the weights of a training fit, and join model and head."""
    _tune(plan, built)
    return ModelWithHead(built.model, built.head, plan.label)


def build_module(plan: RunPlan, built: BuiltModel) -> ScoreModule:
    """Apply the tuning recipe and join model, head, loss and optimizer."""
    from evqa.training.module import ScoreModule

    _tune(plan, built)
    optimizer = plan.optimizer
    if optimizer.learning_rate is None:
        optimizer = dataclasses.replace(optimizer, learning_rate=built.model.learning_rate)
    module = ScoreModule(
        built.model,
        built.head,
        plan.loss,
        plan.label,
        optimizer=optimizer,
        schedule=plan.schedule,
        metadata={
            "config": OmegaConf.to_yaml(plan.recorded),
            "clip": described(built.model.preparer.clip),
            "base": hidden(built.model.base_name()),
        },
        max_failures=plan.data.batches.max_failures,
        later=built.later,
    )
    if not any(True for _ in module.named_trained()):
        raise ConfigError(["lora.freeze: nothing is left to train; this head has no weights of its own."])
    return module


def speed_up(plan: RunPlan, model: Model) -> None:
    """Let layers run fused kernels and compiled code, as the trainer's settings ask: for training on this machine."""
    if plan.trainer.kernels == "liger":
        use_kernels(model, liger_kernels())
    if plan.trainer.compile:
        compile_blocks(model)


def _tune(plan: RunPlan, built: BuiltModel) -> None:
    with seeded(seed_of("tuning", plan.seed)):
        apply_tuning(built.model, plan.tuning, autocast=plan.trainer.precision in ("bf16", "bf16-true"))


def build_datamodule(
    plan: RunPlan, built: BuiltModel, splits: dict[str, tuple[Record, ...]], failures: Mapping[str, tuple[Failure, ...]]
) -> ScoreDataModule:
    """Join records with the one way of reading them.

    Raises:
        ConfigError: as `check_conversations`.
    """
    from evqa.training.datamodule import ScoreDataModule

    check_conversations(splits, prompt=built.prompt, head=built.head, model=built.model)
    return ScoreDataModule(
        splits,
        failures,
        build_pipeline(plan, built),
        plan.data.batches,
        seed=plan.seed,
        modal_dropout=plan.modal_dropout,
        pin=plan.trainer.accelerator != "cpu",
        evaluates_targets=not built.head.gives_scores,
    )


def build_pipeline(plan: RunPlan, built: BuiltModel, *, clip: ClipSpec | None = None) -> Pipeline:
    """Join the one way of reading files with what the head wants worded.

    clip: replaces the model's own request (`eval --modal v`).
    """
    from evqa.media.cache import CachedReader  # and with it all that decodes; a benchmark makes its clips

    preparer = built.model.preparer
    read = CachedReader(plan.data.batches.cache, clip or preparer.clip)
    return Pipeline(read=read, preparer=preparer, wording=built.head.wording, prompt=built.prompt, scale=plan.label)
