"""Names of metrics: as they are logged, for settings that choose one (read as text), and as they are printed."""

from __future__ import annotations

from typing import Literal

# Metrics that can choose a checkpoint, stop a run, or judge a trial. Of the loss, which heads without a score are
# validated by, a smaller value is better; of all others a larger one.
Monitored = Literal["val/challenge", "val/srocc", "val/plcc", "val/krocc", "val/loss"]
LOSS = "val/loss"
ACCURACY = "val/accuracy"

# As tables, plots and model cards print them, in this order.
PRINTED = {"srocc": "SROCC", "plcc": "PLCC", "krocc": "KROCC", "rmse": "RMSE", "challenge": "0.6 SROCC + 0.4 PLCC"}
PRINTED_OF_WORDS = {"loss": "loss a learned token", "accuracy": "right, word for word"}


def with_groups(num_items: int | str, num_groups: int | None) -> str:
    """`400`, or `400 in 100 groups`: what an interval was drawn from."""
    kinds = "group" if num_groups == 1 else "groups"
    return f"{num_items}" if num_groups is None else f"{num_items} in {num_groups} {kinds}"
