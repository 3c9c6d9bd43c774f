"""W&B beside the files: the same rows under the same numbers, online or offline. Whatever it does, the run goes on."""

from __future__ import annotations

import contextlib
import math
import netrc
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from evqa.config.metric_names import LOSS
from evqa.files.whole import write_whole
from evqa.media.limits import Limits
from evqa.runs.run_log import RunLog, first_line, say, summary_of
from evqa.runs.wandb_artifacts import run_artifacts
from evqa.runs.wandb_items import item_table
from evqa.scoring.records import own_records
from evqa.scoring.score import Score
from evqa.types import Record

CONNECT_SECONDS = 10.0
FINISH_SECONDS = 10.0
STEP = "trainer/global_step"
Mode = Literal["online", "offline"]
T = TypeVar("T")


class WandbLog(RunLog):
    """A W&B run that holds the rows of metrics.jsonl; row k is W&B's step k, in whichever life it is sent.

    A server's run that has the first rows already gets only those behind them. An offline run begins empty and gets
    all: its folder holds the whole history, and the folders of earlier lives are removed.

    monitor: the metric by which the run chooses its checkpoint. Of the validation's metrics, the summary holds those of
    the chosen epoch at any time, where W&B itself would hold the last ones. num_items: rows of the table of a split's
    items. upload: megabytes of the largest file of an artifact that is uploaded; None for no artifacts.
    """

    name = "W&B"

    def __init__(self, run: Any, *, monitor: str, num_items: int = 0, upload: float | None = None) -> None:
        self.run, self.monitor, self.num_items, self.upload = run, monitor, num_items, upload
        self._best = -math.inf
        self._chosen: dict[str, Any] = {}
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        run.define_metric(monitor, step_metric=STEP, summary="min" if monitor == LOSS else "max")

    def replay(self, rows: Iterable[dict[str, Any]]) -> None:
        """Send what earlier lives have written."""
        super().replay(rows)
        here = Path(self.run.dir).parent
        for end in ("", "-*"):  # W&B numbers folders of the same second
            for folder in here.parent.glob(f"offline-run-*-{self.run.id}{end}"):
                if folder != here:
                    shutil.rmtree(folder, ignore_errors=True)

    def log(self, number: int, row: dict[str, Any]) -> None:
        """Send a row of metrics.jsonl."""
        if number >= self.run.starting_step:
            values = {STEP if name == "step" else name: value for name, value in row.items()}
            self._try(lambda: self.run.log(values, step=number, commit=True))
        if self.monitor in row:
            self._choose({name: value for name, value in row.items() if name.startswith("val/")})

    def _choose(self, values: dict[str, Any]) -> None:
        """Keep the metrics of the best validation in the summary, as a logged row replaces them there."""
        value = -values[self.monitor] if self.monitor == LOSS else values[self.monitor]
        if value > self._best:  # never of NaN, as in Checkpoints
            self._best, self._chosen = value, values
        self._try(lambda: self.run.summary.update(self._chosen))

    def summarize(self, split: str, record: dict[str, Any]) -> None:
        """Put the final metrics of a split (of the best checkpoint), their intervals and n into the run's summary."""
        self._try(lambda: self.run.summary.update(summary_of(split, record)))

    def show_items(self, split: str, scores: Sequence[Score], records: Sequence[Record], *, limits: Limits) -> None:
        """Put a table of the items with the largest errors into the summary, where one is wanted."""
        if self.num_items:
            make = partial(item_table, scores, records, at_most=self.num_items, limits=limits)
            self._try(lambda: self.run.summary.update({f"{split}/items": make()}))

    def publish(self, folder: Path) -> None:
        """Log checkpoint and predictions of a finished run as artifacts, where they are wanted."""
        if self.upload is not None:
            make = partial(run_artifacts, folder, self.run.id, dict(own_records(folder)), upload=self.upload)
            self._try(lambda: [self.run.log_artifact(artifact) for artifact in make()])

    def finish(self, exit_code: int = 0) -> None:
        """End the run; what W&B has not taken in time stays in its folder."""
        try:
            self.run.finish(exit_code=exit_code)
        except TimeoutError:
            folder = Path(self.run.dir).parent
            say(f"W&B did not take everything within {FINISH_SECONDS:.0f} s. Send it later: wandb sync {folder}")
        except Exception as error:  # noqa: BLE001 - W&B raises its own kinds, and whatever its helpers do
            say(f"W&B did not end well: {first_line(error)}")


def open_log(folder: Path, about: dict[str, Any], *, online: bool, **options: Any) -> WandbLog | None:
    """Open the W&B run of a folder. about: project, name and so on, for wandb.init; options: for WandbLog."""
    return online_or_offline(lambda mode: WandbLog(_init(folder, about, mode), **options), folder, online=online)


def online_or_offline(begin: Callable[[Mode], T], folder: Path, *, online: bool) -> T | None:
    """Begin with W&B online, offline where its server does not answer in time or refuses, or say why with neither."""
    modes: tuple[Mode, ...] = ("online", "offline") if online else ("offline",)
    for mode in modes:
        try:
            return begin(mode)
        except Exception as error:  # noqa: BLE001 - W&B raises its own kinds, and whatever its helpers do
            reason = first_line(error)
            _forget()
        if mode == "online":
            say(f"W&B cannot be used online ({reason}). Logging offline; later: wandb sync {folder}/wandb/*run-*")
    say(f"W&B is not used: {reason}")
    return None


def _init(folder: Path, about: dict[str, Any], mode: Mode) -> Any:
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=CONNECT_SECONDS,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
    )
    return wandb.init(**about, id=kept_id(folder), dir=str(folder), mode=mode, resume="allow", settings=settings)


def _forget() -> None:
    """End W&B's own process, which would hold the id of a run that could not be opened."""
    import wandb

    with contextlib.suppress(Exception):
        wandb.teardown()


def kept_id(folder: Path) -> str:
    """Return the W&B id of a run folder: a sweep's agent chooses it, otherwise it is random once."""
    file = folder / "wandb" / "id"
    before = file.read_text().strip() if file.is_file() else ""
    chosen = os.environ.get("WANDB_RUN_ID") or before or uuid.uuid4().hex[:16]
    if chosen != before:
        write_whole(file, f"{chosen}\n")
    return chosen


def asked_by_agent() -> bool:
    """Tell whether a W&B sweep's agent has started this process and waits for a result under an id of its own."""
    return bool(os.environ.get("WANDB_SWEEP_ID") or os.environ.get("WANDB_RUN_ID"))


def has_login() -> bool:
    """Tell whether W&B has a key in the environment or in netrc, without asking and without the network."""
    if os.environ.get("WANDB_MODE") == "offline":
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
