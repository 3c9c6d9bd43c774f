"""The card that computes: its name, and clocks, power and temperature while something is measured."""

from __future__ import annotations

import subprocess
import tempfile
from types import TracebackType
from typing import IO, Any, Self

import torch

from evqa.benchmarking.measure import Spread, machine

PACKAGES = ("torch", "lightning", "transformers", "peft", "triton", "bitsandbytes", "flash-attn", "liger-kernel")
# What nvidia-smi is asked for, and what we call it.
READINGS = {
    "clocks.sm": "SM clock, MHz",
    "clocks.mem": "memory clock, MHz",
    "power.draw": "power, W",
    "temperature.gpu": "temperature, °C",
}
FIXED = {"driver_version": "driver", "power.limit": "power limit, W", "clocks.max.sm": "highest SM clock, MHz"}
EVERY_MS = 500
NOT_KNOWN = "not known"


def about_machine(device: torch.device) -> dict[str, Any]:
    """State where and with what something is measured."""
    about = {"device": device_name(device), **machine(PACKAGES), "cuda": torch.version.cuda or "none"}
    if device.type == "cuda":
        about["memory_bytes"] = torch.cuda.get_device_properties(device).total_memory
        about |= dict(zip(FIXED.values(), _ask(device), strict=True))
    return about


def device_name(device: torch.device) -> str:
    """Name a GPU as its driver does, another device as torch does."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _ask(device: torch.device) -> list[str]:
    """Read what does not change; "not known" where there is no nvidia-smi, or it does not say."""
    try:
        answer = subprocess.check_output(_command(device, FIXED), text=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return [NOT_KNOWN] * len(FIXED)
    values = [value.strip() for value in answer.strip().split(",")]
    return values if len(values) == len(FIXED) else [NOT_KNOWN] * len(FIXED)


def _command(device: torch.device, names: dict[str, str]) -> list[str]:
    query = f"--query-gpu={','.join(names)}"
    return ["nvidia-smi", query, "--format=csv,noheader,nounits", f"--id={_uuid(device)}"]


def _uuid(device: torch.device) -> str:
    """Name the card as nvidia-smi does, whatever CUDA_VISIBLE_DEVICES says."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


class CardWatch:
    """Lets nvidia-smi note the card's state beside the block, in a process of its own; nothing on other devices."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.state: dict[str, Spread] = {}
        self._file: IO[str] | None = None
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if self.device.type == "cuda":
            self._file = tempfile.TemporaryFile("w+", encoding="utf-8")
            command = [*_command(self.device, READINGS), f"--loop-ms={EVERY_MS}"]
            try:
                self._process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.DEVNULL, text=True)
            except OSError:
                self._process = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._file is not None:
            self._file.seek(0)
            self.state = read_states(self._file.read())
            self._file.close()


def read_states(lines: str) -> dict[str, Spread]:
    """Summarise nvidia-smi's lines; what the card does not say, and a line that was cut off, is left out."""
    values: dict[str, list[float]] = {name: [] for name in READINGS.values()}
    for line in lines.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(READINGS):
            for name, cell in zip(values, cells, strict=True):
                if cell.replace(".", "", 1).isdigit():
                    values[name].append(float(cell))
    return {name: Spread.of(found) for name, found in values.items() if found}
