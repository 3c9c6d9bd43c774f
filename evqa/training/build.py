"""Build the objects of a run from its checked configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig, OmegaConf

from evqa.config.environment import hidden
from evqa.config.signature import read_schema
from evqa.errors import ConfigError, EvqaError
from evqa.heads.base import Head
from evqa.heads.regression import RegressionHead
from evqa.media.cache import CachedReader
from evqa.media.clip import ClipSpec, described
from evqa.models.base import BuildOptions, Model
from evqa.prompts.prompt import Prompt
from evqa.training.batches import seed_of
from evqa.training.conversations import check_conversations
from evqa.training.datamodule import BatchSettings, Pipeline, ScoreDataModule
from evqa.training.module import ScoreModule
from evqa.training.tuning import apply_tuning
from evqa.types import Failure, LabelScale, Record

COMPANION = "evqa.training.datamodule.BatchSettings"  # its arguments stand in the node `data` too


@dataclass(frozen=True)
class Scorer:
    """A model with its head, ready to be trained or to score."""

    model: Model
    head: Head
    prompt: Prompt


def build(node: DictConfig, *positional: Any) -> Any:
    """Call the class of a node with the program's positional arguments and the YAML's keywords."""
    try:
        return instantiate(node, *positional, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, EvqaError):
            raise error.__cause__ from None
        raise


def build_scorer(config: DictConfig, *, load: bool = True, device: str = "cpu") -> Scorer:
    """Build model and head on a device; towers that `modal` leaves out are not built. Without `load` on the meta one.

    Random weights follow from the configuration's seed alone, so that every process that builds the scorer has the
    same ones.
    """
    with seeded(config.seed):
        return _build_scorer(config, load=load, device=device)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw all random numbers of the block from a seed; what is drawn outside neither changes it nor is changed."""
    with isolate_rng(include_cuda=False):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield


def _build_scorer(config: DictConfig, *, load: bool, device: str) -> Scorer:
    modal = config.modal.name
    options = BuildOptions(
        frames=build(config.frames) if "v" in modal else None,
        audio=build(config.audio) if "a" in modal else None,
        logits=bool(read_schema(config.head._target_).facts["needs_logits"]),
        load=load,
        device=device,
    )
    with torch.device("cpu" if load else "meta"):
        model: Model = build(config.model, options)
        head: Head = build(config.head, model.width)
    model.preparer.clip = dataclasses.replace(model.preparer.clip, **_reading_settings(config))
    if load and isinstance(head, RegressionHead) and (state := model.head_state()):
        head.load_published(state)
    if load:  # random weights are drawn on the CPU, so that they do not depend on the device
        model.to(device)
        head.to(device)
    prompt: Prompt = build(config.prompt).fitted(build(config.data.label), short=not model.reads_questions)
    return Scorer(model, head, prompt)


def _reading_settings(config: DictConfig) -> dict[str, Any]:
    loading = build_batch_settings(config)
    return {"reader": loading.reader, "limits": loading.limits}


def build_module(config: DictConfig, scorer: Scorer, scale: LabelScale) -> ScoreModule:
    """Apply the tuning recipe and join model, head, loss and optimizer."""
    with seeded(seed_of("tuning", config.seed)):
        apply_tuning(scorer.model, build(config.lora))
    optimizer = build(config.optimizer)
    if optimizer.learning_rate is None:
        optimizer = dataclasses.replace(optimizer, learning_rate=scorer.model.learning_rate)
    module = ScoreModule(
        scorer.model,
        scorer.head,
        build(config.loss),
        scale,
        optimizer=optimizer,
        schedule=build(config.schedule),
        metadata={
            "config": OmegaConf.to_yaml(config),
            "clip": described(scorer.model.preparer.clip),
            "base": hidden(scorer.model.base_name()),
        },
        max_failures=build_batch_settings(config).max_failures,
    )
    if not any(True for _ in module.named_trained()):
        raise ConfigError(["lora.freeze: nothing is left to train; this head has no weights of its own."])
    return module


def build_dataset(config: DictConfig) -> Any:
    """Build the data set of the node `data` without the loading arguments; it reads the texts that the prompt names."""
    loading = read_schema(COMPANION).parameters
    dataset = build(OmegaConf.masked_copy(config.data, [key for key in config.data if key not in loading]))
    return dataset.asking(build(config.prompt).texts) if config.get("prompt") else dataset


def build_batch_settings(config: DictConfig) -> BatchSettings:
    """Build the loading settings that stand in the node `data`."""
    loading = read_schema(COMPANION).parameters
    node = OmegaConf.masked_copy(config.data, [key for key in config.data if key in loading])
    return BatchSettings(**instantiate(node, _convert_="all"))


def check_settings(config: DictConfig) -> None:
    """Build what costs nothing, so that what classes refuse themselves is told before anything is loaded.

    Raises:
        ConfigError: every such problem.
    """
    settings = ("prompt", "loss", "optimizer", "schedule", "lora", "trainer", "logger")
    builds = [partial(build_dataset, config), partial(build_batch_settings, config)]
    problems: list[str] = []
    for make in (*builds, *(partial(build, config[name]) for name in settings)):
        try:
            make()
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))


def build_datamodule(
    config: DictConfig,
    scorer: Scorer,
    splits: dict[str, tuple[Record, ...]],
    failures: tuple[Failure, ...],
    scale: LabelScale,
    *,
    clip: ClipSpec | None = None,
) -> ScoreDataModule:
    """Join records with the one way of reading them; `clip` replaces the model's own request (`eval --modal v`).

    Raises:
        ConfigError: as `check_conversations`.
    """
    check_conversations(splits, prompt=scorer.prompt, head=scorer.head, model=scorer.model)
    return ScoreDataModule(
        splits,
        failures,
        build_pipeline(config, scorer, scale, clip=clip),
        build_batch_settings(config),
        seed=config.seed,
        modal_dropout=config.modal.dropout,
        pin=config.trainer.accelerator != "cpu",
        evaluates_targets=not scorer.head.gives_scores,
    )


def build_pipeline(config: DictConfig, scorer: Scorer, scale: LabelScale, *, clip: ClipSpec | None = None) -> Pipeline:
    """Join the one way of reading files with what the head wants worded; clip: as in `build_datamodule`."""
    preparer = scorer.model.preparer
    read = CachedReader(build_batch_settings(config).cache, clip or preparer.clip)
    return Pipeline(read=read, preparer=preparer, wording=scorer.head.wording, prompt=scorer.prompt, scale=scale)
