"""Stop a trial of a search that falls behind the others."""

from __future__ import annotations

import math
from typing import Annotated

import lightning
from lightning.pytorch.callbacks import Callback

from evqa.config.metric_names import Monitored
from evqa.errors import MissingDependencyError


class Pruning(Callback):
    """Report each validation to the search's journal, and stop where the median of the other trials is better.

    The sweeper sets all of it. Trials are compared at the same share of their training, so that batch sizes may
    differ. Under DDP the first process decides for all. The stopped run is evaluated like any other; the journal
    says that it was pruned.

    journal, study, trial: where the trial is recorded. startup_trials: none is stopped before so many have ended.
    warmup: share of the training (0-1) before which none is stopped.
    """

    def __init__(
        self,
        *,
        journal: str,
        study: str,
        trial: Annotated[int, "0 <= trial"],
        monitor: Monitored = "val/challenge",
        startup_trials: Annotated[int, "0 <= startup_trials"] = 5,
        warmup: Annotated[float, "0 <= warmup <= 1"] = 0.3,
    ) -> None:
        self.journal, self.study, self.trial, self.monitor = journal, study, trial, monitor
        self.startup_trials, self.warmup = startup_trials, warmup

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Report, decide on the first process, and let every process stop."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        stop = self.falls_behind(trainer) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(stop, src=0):
            trainer.should_stop = True

    def falls_behind(self, trainer: lightning.Trainer) -> bool:
        """Record the score of this validation and compare; a score that is NaN says nothing."""
        score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        permille = round(1000 * trainer.global_step / trainer.estimated_stepping_batches)
        if math.isnan(score) or permille >= 1000:
            return False
        return report(self, score, permille=permille)


def report(settings: Pruning, score: float, *, permille: int) -> bool:
    """Write a score at a point of the training into the journal; true where the trial should stop there.

    What was decided at a point stays: a resumed run comes there again, when the other trials have got further.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingDependencyError("Pruning needs Optuna: pip install 'evqa[optuna]'.") from error
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=settings.startup_trials, n_warmup_steps=round(1000 * settings.warmup)
    )
    storage = JournalStorage(JournalFileBackend(settings.journal))
    study = optuna.load_study(study_name=settings.study, storage=storage, pruner=pruner)
    number = storage.get_trial_id_from_study_id_trial_number(study._study_id, settings.trial)
    trial = optuna.trial.Trial(study, number)
    decided: dict[str, bool] = storage.get_trial(number).user_attrs.get("decided", {})
    stop = decided.get(str(permille))
    if stop is None:
        if permille not in storage.get_trial(number).intermediate_values:
            trial.report(score, permille)
        stop = bool(trial.should_prune())
        trial.set_user_attr("decided", {**decided, str(permille): stop})
    if stop:
        trial.set_user_attr("pruned", permille)
    return stop
