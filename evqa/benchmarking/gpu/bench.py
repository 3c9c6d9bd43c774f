"""What all parts share: the device, the size of the models, and how one is built for a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from evqa.benchmarking.gpu.changes import CHANGES
from evqa.benchmarking.gpu.settings import Device, Row, Size, overrides_of
from evqa.benchmarking.step_timer import Steps
from evqa.benchmarking.steps import MakeTrainer
from evqa.config.compose import compose
from evqa.models.base import Model
from evqa.scoring.computation import Computation
from evqa.training.build import BuiltModel, build_model, build_module, speed_up
from evqa.training.module import ScoreModule
from evqa.training.plan import RunPlan, read_plan


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a row is measured with.

    make_trainer: gives a trainer with callbacks. choose_recomputed: follows `model.recompute=auto`.
    """

    device_name: Device
    size: Size
    make_trainer: MakeTrainer
    choose_recomputed: Callable[[RunPlan, Model], object]
    _plans: dict[Row, RunPlan] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return torch.device(self.device_name)

    @property
    def is_tiny(self) -> bool:
        """Whether this only shows that everything runs."""
        return self.size == "tiny"

    @property
    def steps(self) -> Steps:
        """Steps of a row: on a card one of them takes about half a second."""
        return Steps(warmup=1, timed=2, parts=1) if self.is_tiny else Steps(warmup=3, timed=12, parts=6)

    @property
    def num_clips(self) -> int:
        """Clips that are scored in two precisions, or read in two ways."""
        return 4 if self.is_tiny else 32

    def plan(self, row: Row) -> RunPlan:
        """Read the settings of a row."""
        if row not in self._plans:
            self._plans[row] = read_plan(compose(overrides_of(row, size=self.size, device=self.device_name)))
        return self._plans[row]

    def build(self, plan: RunPlan, *, change: str | None = None) -> tuple[BuiltModel, ScoreModule]:
        """Build a model with random weights on the device."""
        built = build_model(plan, device=plan.trainer.device)
        module = build_module(plan, built)
        if built.model.recompute == "auto":
            self.choose_recomputed(plan, built.model)
        speed_up(plan, built.model)
        if change is not None:
            CHANGES[change](module)
        return built, module

    def computation(self, plan: RunPlan) -> Computation:
        """Where and with which numbers a row scores."""
        return Computation(device=self.device, precision=plan.trainer.precision)
