"""TensorBoard, MLflow and Trackio as `logger=NAME`, through Lightning's loggers or the package's own.

They get the rows of metrics.jsonl under their optimizer step, and at the end the best checkpoint's metrics as
`best/<split>/...`. A run that continues logs its whole history anew; what an earlier life has logged is removed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from evqa.errors import MissingDependencyError
from evqa.files.whole import write_whole
from evqa.media.limits import Limits
from evqa.runs.run_log import RunLog, first_line, say, summary_of
from evqa.runs.settings import TrackerSettings
from evqa.scoring.score import Score
from evqa.types import Record


class SimpleLog(RunLog):
    """A tracker of rows under a step. send: takes metrics and a step; end: takes the exit code."""

    def __init__(self, name: str, send: Callable[[dict[str, Any], int], object], end: Callable[[int], object]) -> None:
        self.name, self._send, self._end = name, send, end
        self._step = 0

    def log(self, number: int, row: dict[str, Any]) -> None:
        """Send a row under its optimizer step."""
        self._step = row["step"]
        values = {name: value for name, value in row.items() if name != "step"}
        self._try(lambda: self._send(values, self._step))

    def summarize(self, split: str, record: dict[str, Any]) -> None:
        """Send the final metrics under names of their own, with the last step."""
        values = {f"best/{name}": value for name, value in summary_of(split, record).items()}
        self._try(lambda: self._send(values, self._step))

    def show_items(self, split: str, scores: Sequence[Score], records: Sequence[Record], *, limits: Limits) -> None:
        """Nothing: only W&B shows items."""

    def publish(self, folder: Path) -> None:
        """Nothing: only W&B takes files."""

    def finish(self, exit_code: int = 0) -> None:
        """End the run there."""
        self._try(lambda: self._end(exit_code))


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep what a tracker prints about itself out of the output."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@dataclass(frozen=True, kw_only=True)
class OptionalTracker(TrackerSettings):
    """A tracker whose package is an extra of the same name."""

    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # one of them is enough

    def check(self) -> None:
        """Raise MissingDependencyError where the package is not installed."""
        if not any(find_spec(package) for package in self.packages):
            extra = self.packages[0]
            raise MissingDependencyError(f"logger={extra} needs {self.title}: pip install 'evqa[{extra}]'.")

    def begin(self, folder: Path, about: dict[str, Any], *, monitor: str) -> RunLog | None:
        """Begin anew, or say why the tracker is not used."""
        try:
            return self.begin_anew(folder, **about)
        except Exception as error:  # noqa: BLE001 - trackers raise their own kinds, and whatever their helpers do
            say(f"{self.title} is not used: {first_line(error)}. metrics.jsonl has everything.")
            return None

    @abstractmethod
    def begin_anew(self, folder: Path, *, name: str, group: str, config: dict[str, Any]) -> RunLog:
        """Remove what an earlier life has logged, and begin a run."""


@dataclass(frozen=True, kw_only=True)
class TensorBoard(OptionalTracker):
    """Event files in the run's own folder; `tensorboard --logdir runs` shows all runs."""

    title = "TensorBoard"
    packages = ("tensorboard", "tensorboardX")

    def begin_anew(self, folder: Path, *, name: str, group: str, config: dict[str, Any]) -> RunLog:
        """Write to `tensorboard/` in the run's folder."""
        from lightning.pytorch.loggers import TensorBoardLogger

        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        logger = TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)
        logger.log_hyperparams(config)
        return SimpleLog(self.title, logger.log_metrics, lambda code: logger.finalize("failed" if code else "success"))


@dataclass(frozen=True, kw_only=True)
class MLflow(OptionalTracker):
    """A run of an MLflow experiment.

    project: the experiment. uri: of the tracking server or database; None for MLFLOW_TRACKING_URI, else MLflow's own
    default. An end that is none (an error, a stop) is `FAILED` there.
    """

    title = "MLflow"
    packages = ("mlflow",)
    project: str = "evqa"
    uri: str | None = None

    def begin_anew(self, folder: Path, *, name: str, group: str, config: dict[str, Any]) -> RunLog:
        """Begin a run named as ours, whose id is kept in the folder."""
        import mlflow
        from lightning.pytorch.loggers import MLFlowLogger

        logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # that an experiment is new
        uri, kept = self.uri or mlflow.get_tracking_uri(), folder / "mlflow" / "id"
        logger = MLFlowLogger(self.project, run_name=name, tracking_uri=uri, tags={"experiment": group})
        if kept.is_file():
            with contextlib.suppress(mlflow.MlflowException):  # it is gone already
                logger.experiment.delete_run(kept.read_text().strip())
        write_whole(kept, f"{logger.run_id}\n")
        logger.log_hyperparams(config)
        return SimpleLog(self.title, logger.log_metrics, lambda code: logger.finalize("failed" if code else "success"))


@dataclass(frozen=True, kw_only=True)
class Trackio(OptionalTracker):
    """A run of a Trackio project, on this machine or where TRACKIO_SPACE_ID says; `trackio show` shows it."""

    title = "Trackio"
    packages = ("trackio",)
    project: str = "evqa"

    def begin_anew(self, folder: Path, *, name: str, group: str, config: dict[str, Any]) -> RunLog:
        """Begin a run named as ours, whose id is kept in the folder."""
        import trackio

        kept = folder / "trackio" / "id"
        if kept.is_file():
            with contextlib.suppress(ValueError):  # the project is gone already
                for run in trackio.Api().runs(self.project):
                    if run.id == kept.read_text().strip():
                        run.delete()
        with silenced():
            begun = trackio.init(self.project, name, group, config=config, embed=False, auto_log_gpu=False)
        write_whole(kept, f"{begun.id}\n")
        return SimpleLog(self.title, begun.log, lambda _: silenced()(trackio.finish)())
