"""The search itself: imports Optuna, so it is imported only when a search runs."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from evqa.config.metric_names import LOSS
from evqa.errors import ConfigError, MissingDependencyError
from evqa.files.names import shown_lines
from evqa.files.plain import write_json

from ._ending import EndedRun, print_next, print_runs
from ._naming import Naming, tell_names
from ._record import SweepOutcome, only_driver, reason, run_folder
from ._settings import SearchSettings
from ._space import Axis, read_axis

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import Trial, TrialState
except ImportError as error:
    raise MissingDependencyError("A search needs Optuna: pip install 'evqa[optuna]'.") from error

log = logging.getLogger("evqa.sweep")
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Search:
    """One life of a search. The journal in the sweep's folder holds everything that the next life needs."""

    def __init__(
        self, settings: SearchSettings, *, launcher: Launcher, loader: ConfigLoader, config: DictConfig
    ) -> None:
        self.settings, self.launcher, self.loader = settings, launcher, loader
        self.folder = Path(str(config.hydra.sweep.dir))
        self.journal = self.folder / "study.journal"
        self.monitor = OmegaConf.select(config, "callbacks.checkpoints.monitor")

    def run(self, arguments: Sequence[str]) -> SweepOutcome:
        """Run trials until the total is reached; failed ones count and are listed at the end."""
        self.check_direction()
        self.fixed, self.axes = self.read(arguments)
        naming = Naming(total=self.settings.n_trials, same=frozenset(self.fixed), trials=True)
        tell_names(self.launcher, naming)
        with only_driver(self.folder):
            self.study = self.open_study()
            log.info("%d of %d trials have ended; %s", self.num_ended(), self.settings.n_trials, self.journal)
            while batch := self.next_batch():
                lines = [self.overrides(trial) for trial in batch]
                results = self.launcher.launch(lines, initial_job_idx=batch[0].number)
                for trial, result in zip(batch, results, strict=True):
                    self.tell(trial, result)
                self.write_summary()
        return self.finish()

    def check_direction(self) -> None:
        """Of a loss, which runs without scores return, less is better. Raises ConfigError."""
        wanted = "minimize" if self.monitor == LOSS else "maximize"
        if self.settings.direction != wanted:
            raise ConfigError(
                [
                    f"hydra.sweeper.direction={self.settings.direction}: with callbacks.checkpoints.monitor="
                    f"{self.monitor} a run returns {'its loss' if wanted == 'minimize' else 'its score'}. Write "
                    f"hydra.sweeper.direction={wanted}."
                ]
            )

    def read(self, arguments: Sequence[str]) -> tuple[list[str], list[Axis]]:
        """Separate what is searched from what is the same for all trials. Raises ConfigError without an axis."""
        lines = [*(f"{key}={value}" for key, value in (self.settings.params or {}).items()), *arguments]
        overrides = OverridesParser.create(self.loader).parse_overrides(lines)
        last: dict[str, Override] = {override.get_key_element(): override for override in overrides}
        axes = [read_axis(override) for override in last.values() if override.is_sweep_override()]
        if not axes:
            raise ConfigError(["hydra/sweeper=optuna: nothing is searched. Give a key an interval or several values."])
        return [str(o.input_line) for o in last.values() if not o.is_sweep_override()], axes

    def open_study(self) -> optuna.Study:
        """The study of this space and these settings; another space in the same folder is another study."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space = json.dumps([sorted(self.fixed), sorted(map(repr, self.axes)), self.settings.direction])
        return optuna.create_study(
            study_name=hashlib.sha256(space.encode()).hexdigest()[:8],
            storage=JournalStorage(JournalFileBackend(str(self.journal))),
            direction=self.settings.direction,
            load_if_exists=True,
        )

    def num_ended(self) -> int:
        """How many trials have ended, in all lives."""
        return len(self.study.get_trials(deepcopy=False, states=ENDED))

    def next_batch(self) -> list[Trial]:
        """Trials that a killed life left behind, under their own numbers; then new ones up to the total."""
        left = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))[: self.settings.n_jobs]
        if left:
            log.info("going on with trials %s", ", ".join(str(trial.number) for trial in left))
            return [self.completed(Trial(self.study, trial._trial_id)) for trial in left]
        num = min(self.settings.n_jobs, self.settings.n_trials - self.num_ended())
        return [self.completed(self.study.ask()) for _ in range(num)]

    def completed(self, trial: Trial) -> Trial:
        """Draw the values that a trial lacks; they follow from the seed, its number and the trials before it."""
        seed = self.settings.seed + trial.number
        random = self.settings.sampler == "random"
        self.study.sampler = optuna.samplers.RandomSampler(seed) if random else optuna.samplers.TPESampler(seed=seed)
        for axis in self.axes:
            axis.suggest(trial)
        return trial

    def overrides(self, trial: Trial) -> list[str]:
        """The overrides of a trial's run."""
        return [*self.fixed, *(f"{axis.key}={axis.suggest(trial)}" for axis in self.axes), *self.pruning(trial)]

    def pruning(self, trial: Trial) -> list[str]:
        """What the run needs to report its scores and to learn that it should stop."""
        if not self.settings.prune:
            return []
        values: dict[str, Any] = {
            "_target_": "evqa.training.callbacks.pruning.Pruning",
            "journal": str(self.journal.resolve()),
            "study": self.study.study_name,
            "trial": trial.number,
            "monitor": self.settings.monitor,
            "startup_trials": self.settings.startup_trials,
            "warmup": self.settings.warmup,
        }
        return [f"++callbacks.pruning.{key}={json.dumps(value)}" for key, value in values.items()]

    def tell(self, trial: Trial, result: JobReturn) -> None:
        """Record how a trial ended, and why where it failed."""
        value = result._return_value
        if result.cfg is not None and result.hydra_cfg is not None:
            trial.set_user_attr("folder", run_folder(result.cfg, result.hydra_cfg.hydra.runtime.choices))
        if result.status != JobStatus.COMPLETED:
            self.fail(trial, reason(result))
        elif not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
            self.fail(trial, f"The run's score is {value}; a search needs a number.")
        elif "pruned" in self.study._storage.get_trial(trial._trial_id).user_attrs:
            trial.set_user_attr("value", float(value))
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, float(value))

    def fail(self, trial: Trial, why: str) -> None:
        trial.set_user_attr("error", why)
        self.study.tell(trial, state=TrialState.FAIL)
        log.error("trial %d failed: %s", trial.number, shown_lines(why))

    def write_summary(self) -> None:
        """Write trials.json: every trial with its values, score, state and run folder, of earlier searches too."""
        storage = self.study._storage
        studies = [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]
        rows = [
            {
                "study": study.study_name,
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.user_attrs.get("value", trial.value),
                "params": trial.params,
                "folder": trial.user_attrs.get("folder"),
                "error": trial.user_attrs.get("error"),
            }
            for study in studies
            for trial in study.get_trials(deepcopy=False)
        ]
        write_json(self.folder / "trials.json", rows)

    def finish(self) -> SweepOutcome:
        """Say which trial is best; a search none of whose trials gave a score has failed."""
        self.write_summary()
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        broken = self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        if broken:
            log.error("%d trials failed; the reasons are in %s", len(broken), self.folder / "trials.json")
        self.print_trials()
        if not done:
            return SweepOutcome(exit_code=1)
        best = self.study.best_trial
        words = " ".join(f"{key}={value}" for key, value in best.params.items())
        log.info("best of %d: trial %d with %s: %s", len(done), best.number, best.value, words)
        if folder := best.user_attrs.get("folder"):
            print_next("python", "-m", "evqa.predict", "VIDEO", "--scorer", folder)
        return SweepOutcome()

    def print_trials(self) -> None:
        """Print all trials of this search, the best first, those without a score last."""
        sign = 1 if self.settings.direction == "minimize" else -1
        runs = [
            EndedRun(
                overrides=[f"trial={trial.number}", *(f"{key}={value}" for key, value in trial.params.items())],
                value=trial.user_attrs.get("value", trial.value),
                status=trial.state.name.lower(),
                folder=trial.user_attrs.get("folder"),
            )
            for trial in self.study.get_trials(deepcopy=False)
        ]
        runs.sort(key=lambda run: math.inf if run.value is None else sign * run.value)
        print_runs(runs, monitor=str(self.monitor), record=self.folder / "trials.json")
