"""Names of metrics as they are logged, for settings that choose one; read as text, so nothing heavy is imported."""

from __future__ import annotations

from typing import Literal

# Metrics of which a larger value is better: only those can choose a checkpoint, stop a run, or judge a trial.
Monitored = Literal["val/challenge", "val/srocc", "val/plcc", "val/krocc"]
