"""What is left of a finished run's checkpoints, and what that must be good for."""

import shutil

import pytest

from evqa.errors import RunError
from evqa.runs.merging import export_run
from evqa.scoring.places import load_run
from evqa.training.callbacks.checkpoint_files import holds_training, read_checkpoint
from evqa.training.callbacks.checkpoints import Checkpoints, newest_whole
from evqa.training.folder import RunFolder


@pytest.fixture(scope="module")
def kept(train, tmp_path_factory):
    """The folder of a small finished run with what is kept by default."""
    return train(f"run.root={tmp_path_factory.mktemp('kept')}")


def names(folder):
    return sorted(path.name for path in folder.checkpoints.iterdir())


def test_a_finished_run_keeps_the_best_weights_at_a_third_of_the_size(kept, finished):
    assert names(kept) == ["best.ckpt"]
    assert names(finished) == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    whole = (finished.checkpoints / "best.ckpt").stat().st_size
    assert (kept.checkpoints / "best.ckpt").stat().st_size < 0.36 * whole
    assert kept.prediction("val").read_bytes() == finished.prediction("val").read_bytes()


def test_it_is_scored_exported_and_reported_as_before(kept, finished, train, tmp_path, capsys):
    ours, theirs = (load_run(run.path).module.state_dict() for run in (kept, finished))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    export_run(kept.path, out=tmp_path / "out", adapter=False, checkpoint="best", overrides=[])
    assert (tmp_path / "out/model.safetensors").exists()
    train(f"run.root={kept.path.parents[1]}")
    assert "is finished already" in capsys.readouterr().out
    with pytest.raises(RunError, match=r"a finished run keeps the best weights alone.*keep=all"):
        load_run(kept.path, checkpoint="last")


def test_weights_alone_are_not_continued_from(kept, tmp_path):
    shutil.copytree(kept.checkpoints, tmp_path / "c")
    shutil.copy(tmp_path / "c/best.ckpt", tmp_path / "c/last.ckpt")
    warnings = []
    assert newest_whole(tmp_path / "c", warnings.append) is None
    assert "holds weights alone" in warnings[0]
    assert "callbacks.checkpoints.keep=all" in warnings[0]


@pytest.mark.parametrize("at", ["best", "evaluation", "finish", "removal"])
def test_a_run_that_is_killed_near_its_end_comes_to_the_same_one(kept, train, tmp_path, monkeypatch, at):
    """Killed once the best checkpoint is there, before the scores, before the mark, and before the rest is removed."""
    target, name = {
        "best": (Checkpoints, "on_fit_end"),
        "evaluation": (RunFolder, "prediction"),
        "finish": (RunFolder, "finish"),
        "removal": (Checkpoints, "drop_surplus"),
    }[at]

    def kill(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(target, name, kill)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(f"run.root={tmp_path}")
    (last,) = tmp_path.glob("*/*/checkpoints/last.ckpt")
    assert holds_training(read_checkpoint(last))
    run = train(f"run.root={tmp_path}")
    assert run.is_finished
    assert run.prediction("val").read_bytes() == kept.prediction("val").read_bytes()
    ours, theirs = (read_checkpoint(one.checkpoints / "best.ckpt")["state_dict"] for one in (run, kept))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert names(run) == ["best.ckpt", "last.ckpt", "previous.ckpt"] if at == "removal" else ["best.ckpt"]


def test_without_a_best_checkpoint_the_last_one_is_kept_and_scored(train, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "on_validation_end", lambda *arguments: None)
    run = train(f"run.root={tmp_path}")
    assert names(run) == ["last.ckpt"]
    assert not holds_training(read_checkpoint(run.checkpoints / "last.ckpt"))
    assert "no validation had a value" in (load_run(run.path).note or "")
    assert load_run(run.path, checkpoint="last").checkpoint.name == "last.ckpt"
