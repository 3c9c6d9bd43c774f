"""Where and with which numbers a forward pass is computed outside a trainer, by the rules that a trainer follows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from evqa.errors import ConfigError
from evqa.training.model_with_head import ModelWithHead

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["32", "bf16", "bf16-true", "bf16-pure"]


@dataclass(frozen=True, kw_only=True)
class Computation:
    """A processor, and the precision of `trainer.precision`.

    precision: `bf16` computes in bfloat16 where that is safe; `bf16-true` also keeps the weights in bfloat16, those of
    head and adapters apart; `bf16-pure` does so without autocasting.
    deterministic: operations without a fixed result are an error.
    """

    device: torch.device
    precision: Precision = "32"
    deterministic: bool = False

    def place(self, module: ModelWithHead) -> None:
        """Bring a module to the processor and into evaluation mode, its weights to their type."""
        module.eval()
        if self.precision in ("bf16-true", "bf16-pure"):
            module.hold_in_bfloat16()
        module.to(self.device)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Compute so inside the block; what torch was set to before holds again behind it."""
        with torch.inference_mode(), _deterministic(self.deterministic), self._autocast():
            yield

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.precision in ("32", "bf16-pure"):
            return contextlib.nullcontext()
        # As Lightning does under `bf16`, and evqa.runs.precision under `bf16-true`.
        cached = self.precision == "bf16-true"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=cached)


@contextlib.contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """As `torch.use_deterministic_algorithms`, which would also import torch's compiler: two seconds, for nothing."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error" if wanted else "default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def find_device(device: str, *, accelerator: Accelerator) -> torch.device:
    """Find a processor by torch's name for it (`cpu`, `cuda`, `cuda:1`, `mps`); `auto` takes the accelerator's.

    Raises:
        ConfigError: there is no such processor on this machine.
    """
    if device == "auto":
        gpu = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
        if accelerator == "gpu" and gpu is None:
            raise ConfigError(
                ["trainer.accelerator=gpu: this machine has no GPU that torch can use. Write --override "
                 "trainer.accelerator=cpu (in Python: device='cpu')."]
            )  # fmt: skip
        return torch.device("cpu" if accelerator == "cpu" or gpu is None else gpu)
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ConfigError([f"device={device!r}: give auto, cpu, cuda, cuda:<number> or mps."]) from None
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (found.index or 0) >= counts.get(found.type, 0):
        there = ", ".join(f"{count} x {kind}" for kind, count in counts.items() if count)
        raise ConfigError([f"device={device!r}: this machine does not have it. It has {there}."])
    return found
