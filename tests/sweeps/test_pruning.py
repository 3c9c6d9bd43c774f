import lightning
import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch.utils.data import DataLoader

from evqa.training.callbacks.pruning import Pruning


class Toy(lightning.LightningModule):
    """Its validation score rises by `slope` an epoch."""

    def __init__(self, slope):
        super().__init__()
        self.layer, self.slope = torch.nn.Linear(1, 1), slope

    def training_step(self, batch, index):
        return self.layer(batch).sum()

    def validation_step(self, batch, index):
        self.log("val/challenge", self.slope * (self.trainer.current_epoch + 1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


@pytest.fixture
def train(tmp_path):
    """Train one trial of a search that maximises; returns the epochs it did."""
    journal = str(tmp_path / "study.journal")
    study = optuna.create_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(journal)), direction="maximize"
    )

    def run(slope, batch_size=4, **settings):
        trial = study.ask()
        pruning = Pruning(journal=journal, study="s", trial=trial.number, startup_trials=2, **settings)
        trainer = lightning.Trainer(
            max_epochs=10,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[pruning],
            num_sanity_val_steps=1,
        )
        data = DataLoader(torch.ones(8, 1), batch_size)
        trainer.fit(Toy(slope), data, data)
        pruned = "pruned" in study._storage.get_trial(trial._trial_id).user_attrs
        study.tell(trial, slope if slope == slope else 0.0)  # NaN is no value
        return trainer.current_epoch, pruned

    run.study = study
    return run


def test_a_trial_below_the_median_stops_after_the_warm_up_and_says_so(train):
    assert train(1.0) == train(0.9) == (10, False)
    assert train(0.1, warmup=0.3) == (3, True)
    assert train(1.1) == (10, False)


def test_trials_are_compared_at_the_same_share_of_training_whatever_their_batch_size(train):
    train(1.0), train(1.0)
    assert train(0.1, batch_size=2, warmup=0.0) == (1, True)
    points = [sorted(trial.intermediate_values) for trial in train.study.trials]
    assert points == [list(range(100, 1000, 100))] * 2 + [[100]]


def test_nothing_is_stopped_before_enough_trials_have_ended(train):
    assert train(1.0) == train(0.1) == (10, False)


def test_a_score_that_is_nan_is_not_reported(train):
    assert train(float("nan")) == (10, False)
    assert train.study.trials[0].intermediate_values == {}
