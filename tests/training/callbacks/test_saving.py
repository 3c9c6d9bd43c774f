"""When and where checkpoints are saved, with a stand-in for the trainer: at safe steps, and once more before a stop."""

from types import SimpleNamespace

import pytest
import torch

from evqa.errors import FileError
from evqa.training.callbacks.checkpoints import Checkpoints


class Trainer(SimpleNamespace):
    """What `Checkpoints` asks of Lightning's trainer; a save writes the step into the file."""

    def __init__(self, **changed):
        fetcher = object()
        loop = SimpleNamespace(
            batch_progress=SimpleNamespace(is_last_batch=False),
            _should_check_val_fx=lambda given: (given is fetcher) and self.validates,
        )
        strategy = SimpleNamespace(
            root_device=torch.device("cpu"), reduce=lambda number, reduce_op: number, barrier=lambda name: None
        )
        super().__init__(
            fit_loop=SimpleNamespace(epoch_loop=loop, _data_fetcher=fetcher),
            strategy=strategy,
            state=SimpleNamespace(fn="fit"),
            _logger_connector=SimpleNamespace(update_train_step_metrics=lambda: self.logged.append(self.global_step)),
            sanity_checking=False,
            callback_metrics={},
            accumulate_grad_batches=1,
            is_global_zero=True,
            should_stop=False,
            ckpt_path=None,
            validates=False,
            global_step=0,
            logged=[],
        )
        vars(self).update(changed)

    def save_checkpoint(self, path, weights_only=False):
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)  # a save replaces: a second name of the old file keeps the old content
        path.write_text(str(self.global_step))


def content(folder):
    return {path.name: path.read_text() for path in sorted(folder.glob("*"))}


def checkpoints(folder, trainer, **settings):
    callback = Checkpoints(str(folder / "checkpoints"), **settings)
    callback.on_train_start(trainer, None)
    return callback


def test_the_last_one_is_saved_every_so_many_steps_and_its_predecessor_kept(tmp_path):
    trainer = Trainer(global_step=10)
    callback, saved = checkpoints(tmp_path, trainer, every_steps=3), []
    for step in range(11, 20):
        trainer.global_step = step
        callback.on_train_batch_end(trainer, None, None, None, step - 1)
        saved.append(content(tmp_path / "checkpoints"))
    assert saved == [{}] * 2 + [{"last.ckpt": "13"}] * 3 + [{"last.ckpt": "16", "previous.ckpt": "13"}] * 3 + [
        {"last.ckpt": "19", "previous.ckpt": "16"}
    ]
    assert trainer.logged == [13, 16, 19]  # the step's row is written before the save


@pytest.mark.parametrize(
    ("index", "is_last", "validates", "is_saved"),
    [
        (1, False, False, True),
        (3, False, False, True),
        (0, False, False, False),  # in the middle of an optimizer step
        (2, False, False, False),
        (1, True, False, False),  # the epoch's end is saved by itself
        (1, False, True, False),  # and so is what a validation follows
        (0, True, False, False),
    ],
)
def test_only_a_safe_batch_is_saved(tmp_path, index, is_last, validates, is_saved):
    trainer = Trainer(global_step=1, accumulate_grad_batches=2, validates=validates)
    callback = checkpoints(tmp_path, Trainer(), every_steps=1)
    trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = is_last
    callback.on_train_batch_end(trainer, None, None, None, index)
    assert (tmp_path / "checkpoints/last.ckpt").exists() is is_saved


def test_of_three_micro_batches_only_the_third_is_saved(tmp_path):
    trainer = Trainer(global_step=1, accumulate_grad_batches=3)
    callback = checkpoints(tmp_path, Trainer(), every_steps=1)
    for index, is_saved in ((0, False), (1, False), (2, True)):
        callback.on_train_batch_end(trainer, None, None, None, index)
        assert (tmp_path / "checkpoints/last.ckpt").exists() is is_saved


@pytest.mark.parametrize("is_saved_already", [True, False])
def test_a_run_that_was_asked_on_any_process_saves_once_and_stops(tmp_path, is_saved_already):
    trainer, waited, stopped = Trainer(global_step=7), [], []
    callback = checkpoints(tmp_path, Trainer(global_step=7 if is_saved_already else 6), every_steps=100)
    trainer.strategy.reduce = lambda number, reduce_op: max(int(number), 15) if reduce_op == "max" else 0
    trainer.strategy.barrier = waited.append
    callback.stops = SimpleNamespace(number=0, stop=stopped.append)  # another process was asked
    callback.on_train_batch_end(trainer, None, None, None, 6)
    assert content(tmp_path / "checkpoints") == ({} if is_saved_already else {"last.ckpt": "7"})
    assert (len(waited), stopped) == (1, [15])


def test_what_a_killed_save_left_behind_is_removed_by_the_first_process(tmp_path):
    (tmp_path / ".last.ckpt.1.tmp").touch()
    (tmp_path / "best.ckpt").touch()
    Checkpoints(str(tmp_path)).on_fit_start(Trainer(is_global_zero=False), None)
    assert (tmp_path / ".last.ckpt.1.tmp").exists()
    Checkpoints(str(tmp_path)).on_fit_start(Trainer(), None)
    assert content(tmp_path) == {"best.ckpt": ""}


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_an_end_is_remembered_and_kept_in_the_next_life(tmp_path, stopped, ended):
    trainer = Trainer(should_stop=ended)
    callback = checkpoints(tmp_path, trainer)
    callback.on_train_epoch_end(trainer, None)
    state = callback.state_dict()
    assert state == {"best": None, "ended": ended}
    after, continued = Checkpoints(str(tmp_path)), Trainer(should_stop=stopped)
    after.load_state_dict(state)
    after.on_train_start(continued, None)
    assert continued.should_stop is (stopped or ended)
    assert after.state_dict() == state


def test_a_state_without_an_end_is_that_of_an_older_version(tmp_path):
    callback = Checkpoints(str(tmp_path))
    callback.load_state_dict({"best": 0.5})
    assert callback.state_dict() == {"best": 0.5, "ended": False}


@pytest.mark.parametrize(
    ("changed", "is_saved"),
    [
        ({}, True),
        ({"sanity_checking": True}, False),
        ({"state": SimpleNamespace(fn="validate")}, False),
        ({"callback_metrics": {}}, False),
        ({"callback_metrics": {"val/challenge": torch.tensor(float("nan"))}}, False),
    ],
)
def test_the_best_is_saved_in_a_training_and_where_there_is_a_value(tmp_path, changed, is_saved):
    callback = checkpoints(tmp_path, Trainer())
    trainer = Trainer(**({"callback_metrics": {"val/challenge": torch.tensor(-0.5)}} | changed))
    callback.on_validation_end(trainer, None)
    assert (tmp_path / "checkpoints/best.ckpt").exists() is is_saved
    assert callback.best == (-0.5 if is_saved else None)


def test_another_process_than_the_first_renames_nothing(tmp_path):
    trainer = Trainer(global_step=1, is_global_zero=False)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/last.ckpt").write_text("of the first process")
    trainer.save_checkpoint = lambda path: None
    checkpoints(tmp_path, Trainer(), every_steps=1).on_train_batch_end(trainer, None, None, None, 0)
    assert content(tmp_path / "checkpoints") == {"last.ckpt": "of the first process"}


def test_a_predecessor_that_cannot_be_kept_is_a_sentence(tmp_path):
    trainer = Trainer(global_step=1)
    callback = checkpoints(tmp_path, trainer, every_steps=1)
    trainer.save_checkpoint(tmp_path / "checkpoints/last.ckpt")
    (tmp_path / "checkpoints/previous.ckpt").mkdir()  # cannot be removed like a file
    trainer.global_step = 2
    with pytest.raises(FileError, match=r"previous.ckpt cannot be written: (is a directory|operation not permitted)"):
        callback.on_train_batch_end(trainer, None, None, None, 1)
    assert (tmp_path / "checkpoints/last.ckpt").read_text() == "1"
