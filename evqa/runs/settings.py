"""Settings of the trainer and the logger: the schema of conf/trainer and conf/logger.

They are read for scoring too, which needs no Lightning: it is imported where a trainer is made (`evqa.runs.trainer`).
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from evqa.errors import ConfigError, MissingDependencyError
from evqa.runs.background_log import BackgroundLog
from evqa.runs.run_log import RunLog
from evqa.runs.wandb_artifacts import UPLOAD_MEGABYTES
from evqa.runs.wandb_log import has_login, open_log


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """Where and how long to train.

    precision: `bf16` computes in bfloat16 and keeps float32 weights; `bf16-true` keeps bfloat16 weights too, of which
    small steps may get lost (8 bits of precision instead of 24); head and adapters stay in float32. The last layers,
    and the logits of level words, are computed in float32 always. `bf16-pure` is `bf16-true` without autocasting, for
    scoring alone.
    strategy: what several processes do. `ddp` (and `auto`): each holds the whole model. `fsdp`: each holds its shard of
    weights, gradients and optimizer state.
    accumulate: batches an optimizer step. clip_norm: largest gradient norm, null for none. validate_every: epochs
    between validations, or below 1 a share of an epoch. deterministic: refuse operations without a fixed result.
    kernels: `liger` runs norms, gated MLPs and rotary positions of the language model as one kernel each, on a GPU.
    compile: compile layers and connectors one by one (`torch.compile`): a minute or more before the first step. Both
    hold for training alone, and for scoring within it; neither changes what a run's weights mean elsewhere.
    """

    epochs: Annotated[int, "1 <= epochs"] = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, "1 <= devices"] = 1
    num_nodes: Annotated[int, "1 <= num_nodes"] = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    precision: Literal["32", "bf16", "bf16-true", "bf16-pure"] = "32"
    kernels: Literal["torch", "liger"] = "torch"
    compile: bool = False
    accumulate: Annotated[int, "1 <= accumulate"] = 1
    clip_norm: Annotated[float, "0 < clip_norm"] | None = 1.0
    validate_every: Annotated[float, "0 < validate_every"] = 1.0
    log_every: Annotated[int, "1 <= log_every"] = 10
    deterministic: bool = True
    progress: bool = True

    def check_precision(self) -> None:
        """Raise ConfigError for a precision that nothing can be trained with."""
        if self.precision == "bf16-pure":
            raise ConfigError(
                [
                    "trainer.precision=bf16-pure is for scoring (--override of evqa eval, predict and ask). Train with "
                    "bf16-true or bf16."
                ]
            )

    def check_devices(self, *, scoring: bool = False) -> None:
        """Refuse processors that this machine does not have; scoring takes one.

        Raises:
            ConfigError: there is no GPU, or there are fewer than `devices`; `kernels` or `compile` cannot run here.
            MissingDependencyError: the package of `kernels` is not installed.
        """
        import torch

        found = torch.cuda.device_count() or int(torch.backends.mps.is_available())
        wanted = 1 if scoring else self.devices
        if self.accelerator == "gpu" and not found:
            advice = f"{'--override ' if scoring else ''}trainer.accelerator=cpu"
            raise ConfigError([f"trainer.accelerator=gpu: this machine has no GPU that torch can use. Write {advice}."])
        if found and self.accelerator != "cpu" and wanted > found:
            raise ConfigError([f"trainer.devices={wanted}: this machine has {found}. Write trainer.devices={found}."])
        if not scoring:
            self._check_programs()

    def _check_programs(self) -> None:
        """Refuse kernels that cannot run here, and to compile without what compiles."""
        import torch

        on_gpu = self.accelerator != "cpu" and torch.cuda.is_available()
        if self.kernels == "liger" and not on_gpu:
            raise ConfigError(["trainer.kernels=liger: its kernels need a CUDA GPU. Write trainer.kernels=torch."])
        if self.kernels == "liger" and not all(map(find_spec, ("liger_kernel", "triton"))):
            raise MissingDependencyError("trainer.kernels=liger needs liger-kernel: pip install 'evqa[liger]'")
        if self.compile and not on_gpu and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
            raise ConfigError(
                ["trainer.compile=true: torch.compile needs a C++ compiler on a CPU, and finds no g++ or clang++. "
                 "Install one, or write trainer.compile=false."]
            )  # fmt: skip

    @property
    def device(self) -> str:
        """Device of this process ("cuda:1"), on which a model is built; "cpu" where the trainer moves it later, too."""
        import torch

        if self.accelerator == "cpu" or not torch.cuda.is_available():
            return "cpu"
        from evqa.runs.processes import cluster_environment

        many = self.num_processes > 1
        return f"cuda:{cluster_environment(self.devices, self.num_nodes).local_rank() if many else 0}"

    @property
    def shards(self) -> bool:
        """Whether weights are sharded over processes."""
        return self.strategy == "fsdp" and self.num_processes > 1

    @property
    def num_processes(self) -> int:
        """Processes of the run on all nodes."""
        return self.devices * self.num_nodes


class TrackerSettings(ABC):
    """What tracks a run beside its files."""

    @property
    def is_wanted(self) -> bool:
        """Whether anything is logged beside the files."""
        return True

    @abstractmethod
    def check(self) -> None:
        """Refuse what cannot be used, before anything is loaded. Raises EvqaError."""

    def build(self, folder: Path, *, monitor: str, **about: Any) -> RunLog | None:
        """Begin to log a run, in its first process; None where that is not wanted or does not work.

        monitor: the metric by which the run chooses its checkpoint. about: name, group (a text each) and config.
        """
        from lightning.fabric.utilities.rank_zero import rank_zero_only

        is_first = not getattr(rank_zero_only, "rank", 0)
        return self.begin(folder, about, monitor=monitor) if self.is_wanted and is_first else None

    @abstractmethod
    def begin(self, folder: Path, about: dict[str, Any], *, monitor: str) -> RunLog | None:
        """Begin, or say why the tracker is not used."""


@dataclass(frozen=True, kw_only=True)
class LoggerSettings(TrackerSettings):
    """Weights & Biases beside the files that are always written.

    mode: `auto` is online where a login is found and offline otherwise; never asks. items: of every scored split, a
    table of that many items with the largest errors, each with a picture, which is one more decode an item. artifacts:
    log checkpoint and predictions of a finished run as artifacts. upload_megabytes: a larger file of an artifact is
    referred to where it lies, not uploaded.
    """

    mode: Literal["auto", "online", "offline", "none"] = "auto"
    project: str = "evqa"
    entity: str | None = None
    tags: tuple[str, ...] = ()
    items: Annotated[int, "0 <= items"] = 0
    artifacts: bool = False
    upload_megabytes: Annotated[float, "0 <= upload_megabytes"] = UPLOAD_MEGABYTES

    @property
    def is_wanted(self) -> bool:
        """Whether anything is logged to W&B."""
        return self.mode != "none" and os.environ.get("WANDB_MODE") != "disabled"

    def check(self) -> None:
        """Raise ConfigError where `mode` asks for a login, and there is none."""
        if self.is_wanted and self.mode == "online" and not has_login():
            raise ConfigError(["logger.mode=online: no W&B login found. Run 'wandb login' or set WANDB_API_KEY."])

    def begin(self, folder: Path, about: dict[str, Any], *, monitor: str) -> RunLog:
        """Open the W&B run of a folder, which keeps its id, beside the training."""
        about |= {"project": self.project, "entity": self.entity, "tags": list(self.tags)}
        online = self.mode == "online" or (self.mode == "auto" and has_login())
        upload = self.upload_megabytes if self.artifacts else None
        options = {"monitor": monitor, "num_items": self.items, "upload": upload}
        return BackgroundLog(partial(open_log, folder, about, online=online, **options))
