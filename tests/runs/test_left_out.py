"""What is left out of a run, and whether it counts as a failure."""

import csv
import json
import re

import av
import pytest

from evqa.config import identity
from evqa.config.compose import compose
from evqa.errors import RunError
from evqa.runs import fit, preparation
from evqa.runs.evaluation import evaluate_split
from evqa.scoring.prediction import predict
from evqa.scoring.request import Request
from evqa.training.build import build_model
from evqa.training.folder import RunFolder
from evqa.training.plan import read_plan


def mute(path):
    """Take the sound out of a video, in place of the link or file that lies there."""
    silent = path.with_suffix(".silent.mp4")
    with av.open(str(path)) as source, av.open(str(silent), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    silent.replace(path)


@pytest.fixture
def some_silent(own):
    """The small data set with two silent videos to train on and one to validate on."""
    folder, options = own
    real = (folder / "videos").resolve()
    (folder / "videos").unlink()
    (folder / "videos").mkdir()
    for video in real.iterdir():
        (folder / "videos" / video.name).hardlink_to(video)
    silent = [folder / "videos" / f"clip_{number:05}.mp4" for number in (3, 8, 41)]
    for video in silent:
        mute(video)
    return silent, [*options, f"data.prepared={folder}/prepared"]


def test_videos_without_sound_are_failures_of_modal_a_in_every_command(some_silent, capsys):
    silent, options = some_silent
    config = compose([*options, "modal=a"])
    preparation.run(config)
    (rejects,) = silent[0].parents[1].glob("prepared/*/rejects.csv")
    assert [row["id"] for row in csv.DictReader(rejects.read_text().splitlines())] == [video.stem for video in silent]
    fit.run(config)
    out = capsys.readouterr().out
    assert "Data: 15 val, 38 train; 3 left out" in out
    assert "left out: Id clip_00003: has no audio track; give a video with sound, or use modal=v" in out
    run = RunFolder(identity.folder(config))
    record = json.loads(run.prediction("val", "json").read_text())
    assert (record["n"], record["num_failed"]) == (15, 1)
    assert [failure["id"] for failure in record["failures"]] == [silent[2].stem]
    assert [failure["id"] for failure in record["train_failures"]] == [video.stem for video in silent[:2]]
    assert "val: n=15, 1 failed" in out
    assert re.search(r"epoch \d of \d, chosen on these items; the last one's 0.6 SROCC \+ 0.4 PLCC: -?0.\d{4}\n", out)
    assert "train: 2 failed\n  2 x has no audio track" in out
    again = evaluate_split(run.path, split="val", modal=None, checkpoint="best", overrides=[])
    assert re.search(r"epoch \d of \d, chosen on these items; the last", capsys.readouterr().out)
    assert (again["n"], again["num_failed"], again["failures"]) == (15, 1, record["failures"])
    with pytest.raises(RunError, match="None of the 1 inputs could be scored"):
        predict(Request(inputs=[silent[0]], scorer=run.path))
    assert "holds nothing of what was asked for (no audio track)" in " ".join(capsys.readouterr().err.split())


def test_videos_without_sound_are_scored_by_their_picture(some_silent, capsys):
    silent, options = some_silent
    config = compose([*options, "modal=av", "trainer.epochs=1"])
    fit.run(config)
    assert "Data: 16 val, 40 train; 0 left out" in capsys.readouterr().out
    predict(Request(inputs=[silent[2]], scorer=RunFolder(identity.folder(config)).path))
    assert capsys.readouterr().out.endswith("no audio track\n")
    with pytest.raises(RunError, match="None of the 1 inputs could be scored"):
        predict(Request(inputs=[silent[2]], scorer=RunFolder(identity.folder(config)).path, modal="a"))


def test_a_data_set_of_silent_videos_does_not_train_on_sound(some_silent):
    silent, options = some_silent
    for video in silent[0].parent.iterdir():
        if video not in silent:
            mute(video)
    with pytest.raises(RunError, match=r"56 of 56 items cannot be used, more than data.max_failures=0.1 allows"):
        fit.run(compose([*options, "modal=a"]))


def test_rows_dropped_for_an_overlap_are_listed_and_no_failures(own, capsys):
    folder, options = own
    train, val = folder / "train.csv", folder / "val.csv"
    val.write_text(val.read_text() + "".join(train.read_text().splitlines(keepends=True)[1:11]))
    config = compose([*options, "data.overlap=drop", "data.max_failures=0"])
    data = fit.load_data(plan := read_plan(config), build_model(plan))
    assert {name: len(records) for name, records in data.splits.items()} == {"train": 30, "val": 26}
    assert data.failures == {"train": (), "val": ()}
    out = capsys.readouterr().out
    assert "Data: 26 val, 30 train; 0 left out." in out
    assert "Dropped as data.overlap=drop asks (no failures): 10 of the training rows." in out
    assert "dropped: Id clip_00000: the Id is in the val table too" in out
