"""Run the members of a sweep one after the other in this process."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from evqa.errors import EvqaError
from evqa.files.names import shown_lines

from ._member import run_member
from ._record import reason, words_of

log = logging.getLogger("evqa.sweep")


class LocalLauncher(Launcher):
    """Like Hydra's own, but a failed member is reported at once and the next one runs."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run a batch; Ctrl-C and SystemExit stop it, nothing else does."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        results = []
        for place, overrides in enumerate(job_overrides):
            log.info("run %d: %s", initial_job_idx + place, words_of(overrides))
            results.append(self.run(list(overrides), initial_job_idx + place))
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
            _leave_no_trace()
        return results

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


def _leave_no_trace() -> None:
    """Free the last member's weights and end its group of processes, which would be taken for the next one's."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
