"""The time to the end of a run, from its own steps and validations."""

import signal
from types import SimpleNamespace

import pytest

from evqa.files.progress import Stopped
from evqa.training.callbacks.progress import Course, Pace, TrainingProgress

WHOLE = {"epochs": 10, "epoch_batches": 20, "validation_batches": 5, "final_batches": 15}


@pytest.mark.parametrize(
    ("every_epochs", "every_batches", "done", "number"),
    [
        (1, 20, 19, 0),
        (1, 20, 200, 10),
        (3, 20, 59, 0),
        (3, 20, 60, 1),
        (3, 20, 200, 3),
        (1, 8, 35, 3),
        (1, 8, 36, 4),
        (1, 8, 200, 20),
    ],
)
def test_validations_are_counted_where_the_trainer_makes_them(every_epochs, every_batches, done, number):
    course = Course(**WHOLE, every_epochs=every_epochs, every_batches=every_batches)
    assert course.num_validations(done) == number


def test_the_rest_holds_steps_validations_and_the_scoring_behind_them():
    course = Course(**WHOLE, every_epochs=2, every_batches=20)
    assert course.seconds_left(0, training_s=1.0, scoring_s=0.1) == pytest.approx(200 + 0.1 * (5 * 5 + 15))
    assert course.seconds_left(40, training_s=1.0, scoring_s=0.1) == pytest.approx(160 + 0.1 * (4 * 5 + 15))
    while_validating = course.seconds_left(40, training_s=1.0, scoring_s=0.1, validated=2)
    assert while_validating == pytest.approx(160 + 0.1 * (3 + 4 * 5 + 15))
    assert course.seconds_left(200, training_s=1.0, scoring_s=0.1) == pytest.approx(1.5)


def test_the_pace_is_that_of_the_last_batches_without_the_first_that_warms_up():
    pace = Pace()
    assert pace.training_s is None
    pace.add(60.0, num_samples=8)
    assert (pace.training_s, pace.scoring_s) == (60.0, 60.0)
    for _ in range(200):
        pace.add(2.0, num_samples=8)
    pace.add(102.0, num_samples=8)
    pace.validation_s = 0.5
    assert pace.training_s == pytest.approx(3.0)
    assert (pace.scoring_s, pace.samples_per_second) == (0.5, pytest.approx(8 / 3))


def test_a_ctrl_c_that_python_drops_while_it_frees_an_object_comes_again_at_the_next_batch():
    class Freed:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has it ignored
    progress = TrainingProgress(monitor="val/challenge", wanted=False)

    def training():
        with progress.stopped(SimpleNamespace(saved_step=3)):
            Freed()
            progress.on_train_batch_end(None, None, None, (), 0)

    with pytest.raises(Stopped, match=r"^Stopped before the training began; the same command continues from step 3\.$"):
        training()
    signal.signal(signal.SIGINT, before)


def test_a_score_of_an_earlier_epoch_is_told_as_such():
    progress = TrainingProgress(monitor="val/challenge", wanted=False)
    progress.course = Course(**WHOLE, every_epochs=2, every_batches=20)
    progress.epoch, progress.validation_began = 4, 0.0
    progress.on_validation_end(SimpleNamespace(callback_metrics={"val/challenge": 0.61234}), None)
    assert list(progress._facts(1)) == ["val 0.6123"]
    progress.epoch = 5
    assert list(progress._facts(1)) == ["val 0.6123 of epoch 4"]
