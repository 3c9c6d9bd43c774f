"""A search with Optuna that may be killed at any time and goes on where it stopped."""

from __future__ import annotations

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ._record import SweepOutcome
from ._settings import SearchSettings


class OptunaSweeper(SearchSettings, Sweeper):
    """Ask, launch, tell, until `n_trials` trials have ended, counted over all lives of the search.

    params: the space, `key: interval(0.1, 1)`, `tag(log, interval(1e-5, 1e-3))`, `int(interval(1, 8))`,
        `range(1, 9, 2)`, `choice(a, b)`. n_jobs: trials handed to the launcher together.
    seed: of the proposals; a continued search proposes what an uninterrupted one would have.
    prune: stop a trial whose validation score is below the median of the others at the same point, never before
        `startup_trials` trials have ended or the share `warmup` of the training is done.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.loader, self.config = hydra_context.config_loader, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> SweepOutcome:
        """Run the search to its total number of trials. Raises ConfigError, MissingDependencyError."""
        from ._search import Search

        return Search(self, launcher=self.launcher, loader=self.loader, config=self.config).run(arguments)
