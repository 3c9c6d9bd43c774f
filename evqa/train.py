"""Train a scorer, evaluate it and write its predictions.

Examples:
  python -m evqa.train                                       the embedded model and data, on a CPU
  python -m evqa.train data=snapugc data.csv=train.csv data.videos=videos/
  python -m evqa.train modal=a seed=1 trainer.epochs=5       other settings make another run folder
  python -m evqa.train -m modal=a,v,av seed=0,1,2            nine runs
  python -m evqa.train sweep=audio_ablation                  a sweep from sweeps/
  python -m evqa.train experiment=NAME                       a recipe from experiments/
  python -m evqa.train 'run.name="a, b"'                     a text with commas needs two pairs of quotes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evqa.config.application import Application
from evqa.files.log import say_begin
from evqa.machine.imports import importing

if TYPE_CHECKING:
    from omegaconf import DictConfig


def fit(cfg: DictConfig) -> Any:
    """Fit one checked configuration; what is heavy is imported only now, and not for a run that is finished already."""
    from evqa.runs.finished import is_finished, repeat_finished
    from evqa.runs.processes import is_first

    if is_finished(cfg):
        return repeat_finished(cfg)
    if is_first(cfg.trainer.devices * cfg.trainer.num_nodes):
        say_begin("The settings are checked; loading PyTorch and Lightning.")
    with importing():
        from evqa.runs.fit import run
    return run(cfg)


main = Application(name="train", config_name="train", about=__doc__ or "", job=fit)

if __name__ == "__main__":
    raise SystemExit(main())
