"""Random numbers, speed and early stopping, with a stand-in for the trainer."""

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evqa.errors import MissingDependencyError
from evqa.training.batches import BatchLoader
from evqa.training.callbacks import speed
from evqa.training.callbacks.pruning import Pruning, report
from evqa.training.callbacks.randomness import StatelessRandomness
from evqa.training.callbacks.speed import Speed
from evqa.training.callbacks.stopping import EarlyStopping
from evqa.training.order import seed_of


def drawn(seed, *, epoch=0, batch=0, rank=0):
    trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    StatelessRandomness(seed).on_train_batch_start(trainer, None, None, batch)
    return torch.rand(1).item(), float(np.random.rand()), random.random()


def test_random_numbers_depend_on_the_place_in_the_run_and_on_nothing_else():
    places = [{"seed": 1}, {"seed": 2}, {"seed": 1, "epoch": 1}, {"seed": 1, "batch": 1}, {"seed": 1, "rank": 1}]
    first = [drawn(**place) for place in places]
    assert [drawn(**place) for place in reversed(places)] == first[::-1]
    for kind in zip(*first, strict=True):
        assert len(set(kind)) == len(places)


def test_every_generator_gets_the_seed_of_its_step():
    drawn(5, epoch=2, batch=3, rank=1)
    seed = seed_of("step", 5, 2, 3, 1)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    assert (torch.rand(1).item(), float(np.random.rand()), random.random()) == drawn(5, epoch=2, batch=3, rank=1)


class Items(list):
    """A batch of so many items."""


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now.seconds)
    return now


def run(callback, clock, *, batches, waits, loader=None, world=1, begin=True):
    """Four items and two seconds a batch; returns what is logged as {batch: {name: value}}."""
    logged = {}
    loader = loader or object.__new__(BatchLoader)
    trainer = SimpleNamespace(train_dataloader=loader, world_size=world, is_last_batch=False)
    if begin:
        callback.on_train_epoch_start(trainer, None)
    for index in range(batches):
        clock.seconds += 2.0
        loader.waited_s = waits[index]
        trainer.is_last_batch = index == batches - 1
        module = SimpleNamespace(log=lambda name, value, at=index: logged.setdefault(at, {}).update({name: value}))
        callback.on_train_batch_end(trainer, module, None, Items([0] * 4), index)
    return logged


def test_speed_is_logged_over_windows_and_at_the_end(clock):
    logged = run(Speed(every=2), clock, batches=5, waits=[0.5, 1.0, 1.5, 4.0, 4.5])
    assert {at: round(values["speed/samples_per_second"], 6) for at, values in logged.items()} == {1: 2, 3: 2, 4: 2}
    assert {at: values["speed/data_wait"] for at, values in logged.items()} == {1: 0.25, 3: 0.75, 4: 0.25}


def test_each_epoch_begins_a_window_of_its_own(clock):
    callback = Speed(every=2)
    run(callback, clock, batches=3, waits=[1.0, 1.0, 1.0])
    clock.seconds += 50.0  # a validation
    logged = run(callback, clock, batches=2, waits=[0.0, 2.0], world=3)
    assert logged[1] == {"speed/samples_per_second": 3 * 8 / 4, "speed/data_wait": 0.5}


def test_another_loader_has_no_wait_and_ten_batches_are_a_window(clock):
    logged = run(Speed(), clock, batches=21, waits=[9.0] * 21, loader=SimpleNamespace())
    assert list(logged) == [9, 19, 20]
    assert {values["speed/data_wait"] for values in logged.values()} == {0.0}


def test_peak_memory_is_logged_where_there_is_a_gpu(clock, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2_500_000_000)
    logged = run(Speed(every=1), clock, batches=1, waits=[0.0])
    assert logged[0] == {"speed/samples_per_second": 2.0, "speed/data_wait": 0.0, "speed/peak_gigabytes": 2.5}


def test_pruning_waits_for_five_trials_and_three_tenths_of_the_training():
    plain = Pruning(journal="j", study="s", trial=3)
    assert (plain.journal, plain.study, plain.trial, plain.monitor) == ("j", "s", 3, "val/challenge")
    assert (plain.startup_trials, plain.warmup) == (5, 0.3)


def test_pruning_without_optuna_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"^Pruning needs Optuna: pip install 'evqa\[optuna\]'\.$"):
        report(Pruning(journal="j", study="s", trial=0), 0.5, permille=500)


def test_early_stopping_waits_three_validations_for_a_higher_score():
    plain, own = EarlyStopping(), EarlyStopping(monitor="val/plcc", patience=7, min_delta=0.1)
    assert (plain.monitor, plain.patience, plain.min_delta, plain.mode) == ("val/challenge", 3, 0.0, "max")
    assert (own.monitor, own.patience, own.min_delta, own.mode) == ("val/plcc", 7, 0.1, "max")
    assert not plain.check_finite
    judged = [plain._evaluate_stopping_criteria(torch.tensor(x))[0] for x in (0.5, float("nan"), 0.5, 0.4)]
    assert judged == [False, False, False, True]
