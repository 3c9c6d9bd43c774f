"""A configuration as objects: made here, once, and carried through the rest of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from evqa.config.signature import read_schema
from evqa.datasets.base import Dataset
from evqa.errors import ConfigError, EvqaError
from evqa.training.batch_settings import BatchSettings
from evqa.types import LabelScale

if TYPE_CHECKING:  # these import torch, which a command that only looks at a run's data does without
    from evqa.heads.base import Head
    from evqa.media.audio import AudioWindow
    from evqa.media.sampling import FrameSampling
    from evqa.models.base import BuildOptions, Model
    from evqa.prompts.prompt import Prompt
    from evqa.training.losses import Loss
    from evqa.training.optimizer import AdamW, WarmupCosine
    from evqa.training.tuning import Tuning

BUILT_AT_ONCE = ("frames", "audio", "prompt", "loss", "optimizer", "schedule", "trainer", "logger")
COMPANION = "evqa.training.batch_settings.BatchSettings"  # its arguments stand in the node `data` too


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """What `evqa.prepare` needs. modal: the modalities of the model that will read the files; None without one."""

    dataset: Dataset
    batches: BatchSettings
    modal: str | None

    @property
    def needs_picture(self) -> bool:
        """Whether a file without a picture is a failure."""
        return self.modal is not None and "v" in self.modal

    @property
    def needs_sound(self) -> bool:
        """Whether a file without sound is a failure; beside a picture it may be absent."""
        return self.modal == "a"


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run's configuration says.

    recorded: the configuration as it is written down and compared; nothing is built of it any more. trainer and logger:
    `evqa.runs.settings`. needs_logits, reads_padding: what the head reads of the model's output. make_model, make_head,
    make_checkpoints, make_callbacks: constructors that wait for what only the program knows (build options, the model's
    width, the folder of the checkpoints).
    """

    recorded: DictConfig
    seed: int
    modal: str
    modal_dropout: float
    frames: FrameSampling
    audio: AudioWindow
    prompt: Prompt
    label: LabelScale
    data: DataPlan
    loss: Loss
    optimizer: AdamW
    schedule: WarmupCosine
    tuning: Tuning
    trainer: Any
    logger: Any
    needs_logits: bool
    reads_padding: bool
    make_model: Callable[[BuildOptions], Model]
    make_head: Callable[[int], Head]
    make_checkpoints: Callable[[str], Any]
    make_callbacks: tuple[Callable[[], Any], ...]

    @property
    def may_resume(self) -> bool:
        """Whether an interrupted run may be continued."""
        return bool(self.recorded.resume != "never")

    def options(self, *, load: bool, device: str, later: list[Callable[[], None]] | None = None) -> BuildOptions:
        """What the other groups ask of the model; load, device and later: see `BuildOptions`."""
        from evqa.models.base import BuildOptions

        return BuildOptions(
            frames=self.frames if "v" in self.modal else None,
            audio=self.audio if "a" in self.modal else None,
            logits=self.needs_logits,
            hide_padding=self.reads_padding,
            load=load,
            device=device,
            later=later,
        )


def read_plan(config: DictConfig) -> RunPlan:
    """Build everything that costs nothing, so that what classes refuse themselves is told before anything is loaded.

    Raises:
        ConfigError: every such problem.
    """
    made = _Made()
    data = made.of(partial(read_data_plan, config))
    plan = {name: made.of(partial(build, config[name])) for name in BUILT_AT_ONCE}
    plan["tuning"] = made.of(partial(build, config.lora))
    made.check()
    callbacks = [node for name, node in config.callbacks.items() if name != "checkpoints" and node is not None]
    return RunPlan(
        **plan,
        data=data,
        label=data.dataset.label,
        recorded=config,
        seed=config.seed,
        modal=config.modal.name,
        modal_dropout=config.modal.dropout,
        needs_logits=bool(read_schema(config.head._target_).facts["needs_logits"]),
        reads_padding=config.head.get("pooling") == "original",
        make_model=partial(build, config.model),
        make_head=partial(build, config.head),
        make_checkpoints=partial(build, config.callbacks.checkpoints),
        make_callbacks=tuple(partial(build, node) for node in callbacks),
    )


def read_data_plan(config: DictConfig) -> DataPlan:
    """Build what is said of the data.

    Raises:
        ConfigError: every value that a class refuses.
    """
    made, batches = _Made(), _nodes_of_data(config)[1]
    dataset = made.of(partial(read_dataset, config))
    settings = made.of(lambda: BatchSettings(**instantiate(batches, _convert_="all")))
    made.check()
    return DataPlan(dataset=dataset, batches=settings, modal=config.modal.name if "modal" in config else None)


def read_dataset(config: DictConfig) -> Dataset:
    """Build the data set alone; it reads the texts that the prompt names.

    Raises:
        ConfigError: every value that a class refuses.
    """
    made = _Made()
    dataset = made.of(partial(build, _nodes_of_data(config)[0]))
    prompt = made.of(partial(build, config.prompt)) if config.get("prompt") else None
    made.check()
    asked: Dataset = dataset.asking(prompt.texts) if prompt else dataset
    return asked


def _nodes_of_data(config: DictConfig) -> tuple[DictConfig, DictConfig]:
    """What the node `data` says of the data set, and of batches."""
    own = read_schema(COMPANION).parameters
    table, batches = ([key for key in config.data if (key in own) == is_own] for is_own in (False, True))
    return OmegaConf.masked_copy(config.data, table), OmegaConf.masked_copy(config.data, batches)


class _Made:
    """Builds one thing after the other and gathers what is refused."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def of(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except ConfigError as error:
            self.problems += error.problems
            return None

    def check(self) -> None:
        if self.problems:
            raise ConfigError(dict.fromkeys(self.problems))


def build(node: DictConfig, *positional: Any) -> Any:
    """Call the class of a node with the program's positional arguments and the YAML's keywords."""
    try:
        return instantiate(node, *positional, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, EvqaError):
            raise error.__cause__ from None
        raise
