"""Lightning's trainer, made of `evqa.runs.settings.TrainerSettings`."""

from __future__ import annotations

import logging
import warnings
from typing import Literal

import lightning
import torch.utils.deterministic
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy, Strategy

from evqa.runs.precision import Bfloat16Weights
from evqa.runs.processes import cluster_environment
from evqa.runs.settings import TrainerSettings
from evqa.runs.sharded_strategy import ShardedStrategy
from evqa.training.callbacks.checkpoint_io import WholeCheckpointIO

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"32": "32-true", "bf16": "bf16-mixed"}


def make_trainer(settings: TrainerSettings, *, callbacks: list[Callback], loggers: list[Logger]) -> lightning.Trainer:
    """Make the trainer."""
    quiet_lightning()
    many = settings.num_processes > 1
    environment = cluster_environment(settings.devices, settings.num_nodes) if many else LightningEnvironment()
    whole_epochs = settings.validate_every >= 1
    # Would fill every new tensor with NaN, a tenth of the time, to make visible what no operation here does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    trainer = lightning.Trainer(
        max_epochs=settings.epochs,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=_strategy(settings) if many else "auto",
        precision=PRECISIONS.get(str(settings.precision)),
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_norm,
        check_val_every_n_epoch=int(settings.validate_every) if whole_epochs else 1,
        val_check_interval=None if whole_epochs else settings.validate_every,
        log_every_n_steps=settings.log_every,
        deterministic=settings.deterministic,
        enable_progress_bar=False,  # see evqa.training.callbacks.progress
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        num_sanity_val_steps=0,
        inference_mode=not settings.shards,  # what a validation gathers is memory that steps use again
        use_distributed_sampler=False,
        logger=loggers or False,
        callbacks=callbacks,
        plugins=[WholeCheckpointIO(), environment, *_precision_plugins(settings)],
    )
    # The run listens for signals itself. Lightning's handlers would let SIGTERM end it in the middle of an epoch
    # with exit status 0, and talk to the other processes while a step does.
    trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
    return trainer


def _strategy(settings: TrainerSettings) -> Strategy:
    if settings.strategy == "fsdp":
        return ShardedStrategy(settings.num_processes)
    return DDPStrategy(gradient_as_bucket_view=True)  # gradients lie where they are exchanged, not twice


def _precision_plugins(settings: TrainerSettings) -> list[Bfloat16Weights]:
    on_gpu = settings.accelerator != "cpu" and torch.cuda.is_available()
    if settings.precision not in ("bf16-true", "bf16-pure"):
        return []
    return [Bfloat16Weights("cuda" if on_gpu else "cpu", casts=settings.precision == "bf16-true")]


def _nothing() -> None:
    pass


def quiet_lightning() -> None:
    """Leave warnings that concern the user, drop advertisements, device listings and what is on purpose here."""
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")  # Lightning 2.6 on torch 2.13
    warnings.filterwarnings("ignore", message=r".*overridden `transfer_batch_to_device` in `LightningModule`.*")
    warnings.filterwarnings("ignore", message=r".*`srun` command is available on your system.*")  # a choice
    warnings.filterwarnings("ignore", message=r".*smaller than the logging interval.*")  # every epoch's end logs too
    warnings.filterwarnings("ignore", message=r".*recommended to use `self.log\(.*sync_dist=True.*")  # gathered already
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
