"""Run the members of a sweep one after the other in this process."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from evqa.config.paths import finished_mark
from evqa.errors import EvqaError
from evqa.files.names import shown_lines
from evqa.files.progress import Teller

from ._member import run_member
from ._naming import NamingLauncher
from ._record import reason, run_folder

log = logging.getLogger("evqa.sweep")
CLOCK_SECONDS = 1.0  # by which a file system's clock may be behind


class LocalLauncher(NamingLauncher):
    """Like Hydra's own, but a failed member is reported at once and the next one runs."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.seconds: list[float] = []

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run a batch; Ctrl-C and SystemExit stop it, nothing else does."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        results = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            Teller().say(self.naming.label(number, overrides, left_s=self.seconds_left(number)))
            began, started = time.time(), time.monotonic()
            try:
                results.append(self.run(list(overrides), number))
            except KeyboardInterrupt as stop:
                raise self.naming.stopped(stop, number, overrides) from None
            if _has_ended_since(began, results[-1]):
                self.seconds.append(time.monotonic() - started)
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
            _leave_no_trace()
        return results

    def seconds_left(self, number: int) -> float | None:
        """Seconds to the end of the sweep before a run, by the mean of those that were not finished already.

        The first of them also imports libraries and decodes for the others, so it counts only while it is alone.
        """
        if not self.seconds or self.naming.total is None:
            return None
        measured = self.seconds[1:] or self.seconds
        return sum(measured) / len(measured) * (self.naming.total - number)

    def run(self, overrides: list[str], number: int) -> JobReturn:
        """Run one member; its traceback is printed where the fault is not the user's."""
        context, config, job_id = self.hydra_context, self.config, str(number)
        result = run_member(self.task_function, overrides, context=context, config=config, number=number, job_id=job_id)
        if result.status == JobStatus.FAILED:
            error = result._return_value
            log.error(
                "failed: %s", shown_lines(reason(result)), exc_info=None if isinstance(error, EvqaError) else error
            )
        return result


def _has_ended_since(began: float, result: JobReturn) -> bool:
    """Whether a run has come to its end, and had not done so before a time of the clock."""
    if result.cfg is None or result.hydra_cfg is None:
        return False
    mark = finished_mark(Path(run_folder(result.cfg, result.hydra_cfg.hydra.runtime.choices)))
    return mark.exists() and mark.stat().st_mtime >= began - CLOCK_SECONDS


def _leave_no_trace() -> None:
    """Free the last member's weights and end its group of processes, which would be taken for the next one's."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
