"""Small values that follow a batch to its device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def on_device(values: Sequence[int], device: torch.device) -> Tensor:
    """Send whole numbers to a device; the program does not wait for it, as it would in `torch.tensor(..., device)`."""
    return torch.tensor(values, dtype=torch.long).to(device, non_blocking=True)
