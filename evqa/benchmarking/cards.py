"""What cards can do at most, from their vendor's data sheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Card:
    """bf16_flops, float32_flops: dense, a second, in matrix products (float32 without TF32). bandwidth: bytes a second.

    memory: bytes.
    """

    bf16_flops: float
    float32_flops: float
    bandwidth: float
    memory: float

    def flops(self, *, is_half: bool) -> float:
        """Peak of matrix products in 16 or 32 bits."""
        return self.bf16_flops if is_half else self.float32_flops


# By a part of the device's name, the longer one first; without sparsity, and SXM where a name has several forms.
CARDS = {
    "H200": Card(bf16_flops=989e12, float32_flops=67e12, bandwidth=4.8e12, memory=141e9),
    "H100 PCIe": Card(bf16_flops=756e12, float32_flops=51e12, bandwidth=2.0e12, memory=80e9),
    "H100": Card(bf16_flops=989e12, float32_flops=67e12, bandwidth=3.35e12, memory=80e9),
    "A100": Card(bf16_flops=312e12, float32_flops=19.5e12, bandwidth=2.04e12, memory=80e9),
    "L40S": Card(bf16_flops=362e12, float32_flops=91.6e12, bandwidth=0.864e12, memory=48e9),
    "L4": Card(bf16_flops=121e12, float32_flops=30.3e12, bandwidth=0.3e12, memory=24e9),
}


def card_of(device_name: str) -> Card | None:
    """Find the card whose name a device's name contains."""
    return next((card for name, card in CARDS.items() if name in device_name), None)
