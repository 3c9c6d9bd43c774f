"""Settings of the trainer and the logger: the schema of conf/trainer and conf/logger."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning
import torch.utils.deterministic
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.loggers import Logger

from evqa.errors import ConfigError
from evqa.runs.precision import Bfloat16Weights
from evqa.runs.processes import cluster_environment
from evqa.runs.wandb_log import WandbLog, has_login, open_log
from evqa.training.callbacks.checkpoint_files import WholeCheckpointIO

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """Where and how long to train.

    precision: `bf16` computes in bfloat16 and keeps float32 weights; `bf16-true` keeps bfloat16 weights too, of which
    small steps may get lost (8 bits of precision instead of 24).
    accumulate: batches an optimizer step. clip_norm: largest gradient norm, null for none. validate_every: epochs
    between validations, or below 1 a share of an epoch. deterministic: refuse operations without a fixed result.
    """

    epochs: Annotated[int, "1 <= epochs"] = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, "1 <= devices"] = 1
    num_nodes: Annotated[int, "1 <= num_nodes"] = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32", "bf16", "bf16-true"] = "32"
    accumulate: Annotated[int, "1 <= accumulate"] = 1
    clip_norm: Annotated[float, "0 < clip_norm"] | None = 1.0
    validate_every: Annotated[float, "0 < validate_every"] = 1.0
    log_every: Annotated[int, "1 <= log_every"] = 10
    deterministic: bool = True
    progress: bool = True

    def build(self, *, callbacks: list[Callback], loggers: list[Logger], scoring: bool = False) -> lightning.Trainer:
        """Make Lightning's trainer; `scoring` uses one device and trains nothing."""
        quiet_lightning()
        many = self.num_processes > 1 and not scoring
        environment = cluster_environment(self.devices, self.num_nodes) if many else LightningEnvironment()
        whole_epochs = self.validate_every >= 1
        # Would fill every new tensor with NaN, a tenth of the time, to make visible what no operation here does.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        trainer = lightning.Trainer(
            max_epochs=self.epochs,
            accelerator=self.accelerator,
            devices=1 if scoring else self.devices,
            num_nodes=1 if scoring else self.num_nodes,
            strategy=("ddp" if self.strategy == "auto" else self.strategy) if many else "auto",
            precision=PRECISIONS.get(str(self.precision)),
            accumulate_grad_batches=self.accumulate,
            gradient_clip_val=self.clip_norm,
            check_val_every_n_epoch=int(self.validate_every) if whole_epochs else 1,
            val_check_interval=None if whole_epochs else self.validate_every,
            log_every_n_steps=self.log_every,
            deterministic=self.deterministic,
            enable_progress_bar=self.progress and os.isatty(1),
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            logger=loggers or False,
            callbacks=callbacks,
            plugins=[WholeCheckpointIO(), environment, *self._precision_plugins()],
        )
        # The run listens for signals itself. Lightning's handlers would let SIGTERM end it in the middle of an epoch
        # with exit status 0, and talk to the other processes while a step does.
        trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
        return trainer

    def check_devices(self, *, scoring: bool = False) -> None:
        """Refuse processors that this machine does not have; scoring takes one.

        Raises:
            ConfigError: there is no GPU, or there are fewer than `devices`.
        """
        found = torch.cuda.device_count() or int(torch.backends.mps.is_available())
        wanted = 1 if scoring else self.devices
        if self.accelerator == "gpu" and not found:
            advice = f"{'--override ' if scoring else ''}trainer.accelerator=cpu"
            raise ConfigError([f"trainer.accelerator=gpu: this machine has no GPU that torch can use. Write {advice}."])
        if found and self.accelerator != "cpu" and wanted > found:
            raise ConfigError([f"trainer.devices={wanted}: this machine has {found}. Write trainer.devices={found}."])

    def _precision_plugins(self) -> list[Bfloat16Weights]:
        on_gpu = self.accelerator != "cpu" and torch.cuda.is_available()
        return [Bfloat16Weights("cuda" if on_gpu else "cpu")] if self.precision == "bf16-true" else []

    @property
    def device(self) -> str:
        """Device of this process ("cuda:1"), on which a model is built; "cpu" where the trainer moves it later, too."""
        if self.accelerator == "cpu" or not torch.cuda.is_available():
            return "cpu"
        many = self.num_processes > 1
        return f"cuda:{cluster_environment(self.devices, self.num_nodes).local_rank() if many else 0}"

    @property
    def num_processes(self) -> int:
        """Processes of the run on all nodes."""
        return self.devices * self.num_nodes


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class LoggerSettings:
    """Weights & Biases beside the files that are always written.

    mode: `auto` is online where a login is found and offline otherwise; never asks.
    """

    mode: Literal["auto", "online", "offline", "none"] = "auto"
    project: str = "evqa"
    entity: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def is_wanted(self) -> bool:
        """Whether anything is logged to W&B."""
        return self.mode != "none" and os.environ.get("WANDB_MODE") != "disabled"

    def check_login(self) -> None:
        """Raise ConfigError where `mode` asks for a login, and there is none."""
        if self.is_wanted and self.mode == "online" and not has_login():
            raise ConfigError(["logger.mode=online: no W&B login found. Run 'wandb login' or set WANDB_API_KEY."])

    def build(self, folder: Path, *, name: str, group: str, config: dict[str, Any]) -> WandbLog | None:
        """Open the W&B run of a folder, which keeps its id; None where W&B is not wanted or cannot be used."""
        if not self.is_wanted:
            return None
        if getattr(rank_zero_only, "rank", 0):
            return None
        about = {"project": self.project, "entity": self.entity, "name": name, "group": group, "config": config}
        online = self.mode == "online" or (self.mode == "auto" and has_login())
        return open_log(folder, {**about, "tags": list(self.tags)}, online=online)


def quiet_lightning() -> None:
    """Leave warnings that concern the user, drop advertisements, device listings and what is on purpose here."""
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")  # Lightning 2.6 on torch 2.13
    warnings.filterwarnings("ignore", message=r".*overridden `transfer_batch_to_device` in `LightningModule`.*")
    warnings.filterwarnings("ignore", message=r".*`srun` command is available on your system.*")  # a choice
    warnings.filterwarnings("ignore", message=r".*smaller than the logging interval.*")  # every epoch's end logs too
    warnings.filterwarnings("ignore", message=r".*recommended to use `self.log\(.*sync_dist=True.*")  # gathered already
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
