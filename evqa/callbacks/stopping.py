"""Stop when validation no longer improves."""

from __future__ import annotations

from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping


class EarlyStopping(LightningEarlyStopping):
    """Lightning's early stopping with the arguments that make sense here; NaN counts as no improvement."""

    def __init__(self, *, monitor: str = "val/challenge", patience: int = 3, min_delta: float = 0.0) -> None:
        super().__init__(monitor=monitor, mode="max", patience=patience, min_delta=min_delta, check_finite=False)
