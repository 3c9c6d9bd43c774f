"""A run is of its data and software: what has changed under the same paths is refused or told, never passed over."""

import csv
import json
import os

import pytest
import torch

from evqa.config.compose import compose
from evqa.errors import CheckpointError, RunError
from evqa.runs import origin
from evqa.runs.evaluation import evaluate_split
from evqa.training.folder import RunFolder
from evqa.training.model_with_head import METADATA
from evqa.training.module import ScoreModule


def train(options):
    from evqa.config import identity
    from evqa.runs.fit import run

    config = compose(options)
    run(config)
    return RunFolder(identity.folder(config))


def interrupt(options, monkeypatch, *, at=3):
    """Train until a step, so that a checkpoint is left."""
    step = ScoreModule.training_step

    def stopping(self, batch, index):
        if self.global_step == at:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patched:
        patched.setattr(ScoreModule, "training_step", stopping)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(options)


def edit(path, change):
    rows = list(csv.reader(path.read_text().splitlines()))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def relabel(rows):
    column = rows[0].index("ECR")
    for row in rows[1:]:
        row[column] = str(1 - float(row[column]))


def retitle(rows):
    rows[3][rows[0].index("Title")] = "another title"


def shorten(rows):
    rows.pop()


def reorder(rows):
    rows[1:] = rows[:0:-1]


def replace_video(folder):
    """Another file under the name of the first training video, which is a link's."""
    videos = folder / "videos"
    real = videos.resolve()
    videos.unlink()
    videos.mkdir()
    for file in real.iterdir():
        os.link(file, videos / file.name)
    (videos / "clip_00000.mp4").unlink()
    (videos / "clip_00000.mp4").write_bytes((real / "clip_00000.mp4").read_bytes() + b"more")


# What is done to the folder, and how it is named.
CHANGES = {
    "labels": (lambda folder: edit(folder / "train.csv", relabel), "the labels of train"),
    "texts": (lambda folder: edit(folder / "train.csv", retitle), "the texts of train"),
    "rows": (lambda folder: edit(folder / "train.csv", shorten), r"the items of train \(40 then, 39 now\)"),
    "order": (lambda folder: edit(folder / "train.csv", reorder), "the order of rows of train"),
    "labels of val": (lambda folder: edit(folder / "val.csv", relabel), "the labels of val"),
    "files": (replace_video, "the file sizes of train"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_run_of_other_data_is_refused(own, change):
    folder, options = own
    run = train(options)
    before = run.prediction("val").read_bytes()
    alter, name = CHANGES[change]
    alter(folder)
    with pytest.raises(RunError, match=rf"is finished, but with other data; what has changed since: {name}\. Its"):
        train(options)
    assert run.prediction("val").read_bytes() == before


@pytest.mark.parametrize("change", ["labels", "files"])
def test_an_interrupted_run_does_not_continue_with_other_data(own, monkeypatch, change):
    folder, options = own
    interrupt(options, monkeypatch)
    alter, name = CHANGES[change]
    alter(folder)
    with pytest.raises(RunError, match=rf"last.ckpt was trained with other data; what has changed since: {name}\. To"):
        train(options)


def test_a_file_that_can_no_longer_be_read_does_not_change_a_run_halfway(own, monkeypatch):
    folder, options = own
    interrupt(options, monkeypatch)
    replace_video(folder)
    place = folder / "videos/clip_00000.mp4"
    place.write_bytes(bytes(len(place.read_bytes()) - 4))  # of the same size as before
    with pytest.raises(RunError, match=r"the items of train \(40 then, 39 now\) that can be read"):
        train(options)


def test_data_may_move_to_another_folder_and_a_run_without_data_still_says_its_result(own, capsys):
    folder, options = own
    run = train(options)
    (folder / "moved").mkdir()
    (folder / "videos").rename(folder / "moved/videos")
    record = evaluate_split(
        run.path, split="val", modal=None, checkpoint="best", overrides=[f"data.videos={folder}/moved/videos"]
    )
    assert record["data_changed"] == []
    capsys.readouterr()
    assert train(options).path == run.path
    out = capsys.readouterr()
    assert "is finished already" in out.out
    assert "Whether the data is still that of the run cannot be told" in out.err


@pytest.mark.parametrize(("change", "said"), [("labels of val", ["the labels of val"]), ("labels", []), ("order", [])])
def test_an_evaluation_says_what_of_its_split_is_not_as_in_training(own, capsys, change, said):
    folder, options = own
    run = train(options)
    CHANGES[change][0](folder)
    capsys.readouterr()
    record = evaluate_split(run.path, split="val", modal=None, checkpoint="best", overrides=[])
    assert record["data_changed"] == said
    assert ("not that of the training (the labels of val)" in " ".join(capsys.readouterr().err.split())) == bool(said)


def test_changed_software_is_told_on_resuming_when_finished_and_in_evaluation(own, monkeypatch, capsys):
    _, options = own
    now = origin.software()
    said = f"was made with other software (evqa 0.0.1 then, {now['evqa']} now; commit abc then"

    def told():
        return said in " ".join(capsys.readouterr().err.split())

    with monkeypatch.context() as before:
        before.setattr(origin, "software", lambda: now | {"evqa": "0.0.1", "commit": "abc"})
        interrupt(options, monkeypatch, at=6)  # behind the first validation
    capsys.readouterr()
    run = train(options)
    assert told()
    train(options)
    assert told()
    first = torch.load(run.checkpoints / "previous.ckpt", weights_only=True)
    first[METADATA]["origin"]["software"] |= {"evqa": "0.0.1", "commit": "abc"}
    resave(run.checkpoints / "best.ckpt", first)
    evaluate_split(run.path, split="val", modal=None, checkpoint="best", overrides=[])
    assert told()


def test_a_run_from_before_digests_were_kept_goes_on_and_says_so(own, monkeypatch, capsys):
    folder, options = own
    interrupt(options, monkeypatch)
    (run,) = map(RunFolder, (folder / "runs/default").iterdir())
    (run.path / origin.FILE).unlink()
    for file in run.checkpoints.glob("*.ckpt"):
        state = torch.load(file, weights_only=True)
        del state[METADATA]["origin"]
        resave(file, state)
    capsys.readouterr()
    train(options)
    assert "was made before evqa recorded what its data held" in " ".join(capsys.readouterr().err.split())
    train(options)
    assert "was made before evqa recorded what its data held" in " ".join(capsys.readouterr().err.split())


def resave(file, state):
    from evqa.training.callbacks.checkpoint_files import write_checkpoint

    write_checkpoint(file, state)


def test_a_checkpoint_of_another_run_is_neither_continued_nor_scored(own, finished, monkeypatch):
    folder, options = own
    interrupt(options, monkeypatch)
    (run,) = map(RunFolder, (folder / "runs/default").iterdir())
    interrupt([*options, "seed=1"], monkeypatch)
    (other,) = [RunFolder(f) for f in (folder / "runs/default").iterdir() if f != run.path]
    for name in ("last.ckpt", "previous.ckpt"):
        resave(run.checkpoints / name, torch.load(other.checkpoints / name, weights_only=True))
    with pytest.raises(CheckpointError, match=r"is the checkpoint of another run: seed: 1 there, 0 now"):
        train(options)
    with pytest.raises(CheckpointError, match="is the checkpoint of another run"):
        evaluate_split(run.path, split="val", modal=None, checkpoint="last", overrides=[])


def test_what_a_run_is_of_stands_in_its_folder_and_its_record(finished):
    recorded = json.loads((finished.path / origin.FILE).read_text())
    assert {name: split["n"] for name, split in recorded["data"].items()} == {"train": 40, "val": 16}
    record = json.loads(finished.prediction("val", "json").read_text())
    assert record["data"] == recorded["data"]["val"]
    assert recorded["software"]["evqa"]
