"""Read a data set's table, probe every video, and write a manifest and the rejects with reasons.

It takes the settings of evqa.train, because the model decides what is decoded into the cache.

Examples:
  python -m evqa.prepare data=snapugc data.csv=train.csv data.videos=videos/
  python -m evqa.prepare data=snapugc data.csv=train.csv data.videos=videos/ frames=uniform8 model=videollama2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evqa.config.application import Application
from evqa.files.log import say_begin
from evqa.machine.imports import importing

if TYPE_CHECKING:
    from omegaconf import DictConfig


def prepare(cfg: DictConfig) -> Any:
    """Prepare one checked configuration's data; imports what is heavy only now."""
    say_begin("The settings are checked; loading PyTorch.")
    with importing():
        from evqa.runs.preparation import run
    return run(cfg)


main = Application(name="prepare", config_name="train", about=__doc__ or "", job=prepare)

if __name__ == "__main__":
    raise SystemExit(main())
