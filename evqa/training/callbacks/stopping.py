"""Stop when validation no longer improves."""

from __future__ import annotations

from typing import Annotated

from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping

from evqa.config.metric_names import LOSS, Monitored


class EarlyStopping(LightningEarlyStopping):
    """Lightning's early stopping with the arguments that make sense here; NaN counts as no improvement."""

    def __init__(
        self,
        *,
        monitor: Monitored = "val/challenge",
        patience: Annotated[int, "1 <= patience"] = 3,
        min_delta: Annotated[float, "0 <= min_delta"] = 0.0,
    ) -> None:
        mode = "min" if monitor == LOSS else "max"
        super().__init__(monitor=monitor, mode=mode, patience=patience, min_delta=min_delta, check_finite=False)
