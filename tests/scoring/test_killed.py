"""A command that is killed and given again ends with the file that an undisturbed one writes, byte by byte."""

import fcntl
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evqa.errors import ConfigError, FileError
from evqa.scoring import outcome, prediction, scorer
from evqa.scoring.prediction import predict
from evqa.scoring.request import Request

FORMATS = ("csv", "tsv", "jsonl", "parquet")
NUM_CLIPS = 2000 if "EVQA_EVERY_KILL" in os.environ else 60


def links(folder, clips, number):
    """A folder of that many clips, every tenth of them unreadable."""
    folder.mkdir()
    for at in range(number):
        if at % 10:
            (folder / f"clip {at:05}.mp4").hardlink_to(clips[at % len(clips)])
        else:
            (folder / f"clip {at:05}.mp4").write_bytes(b"no video")
    return folder


def left(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_a_chain_of_kills_at_every_change_of_a_file_leaves_no_trace(live, finished, clips, tmp_path):
    """The k-th life dies in its k-th write, rename, truncation or flush: while it begins, scores or assembles."""
    folder = links(tmp_path / "in", clips, 12)
    arguments = (folder, "--run", finished.path, "--override", "data.batch_size=2", "--fill", "0.5")
    (tmp_path / "whole").mkdir()
    assert live(*arguments, "--out", tmp_path / "whole/o.csv") == 0
    (tmp_path / "killed").mkdir()
    for number in itertools.count(1):
        code = live(*arguments, "--out", tmp_path / "killed/o.csv", at=("files", str(tmp_path / "killed"), number))
        if code != -signal.SIGKILL:
            break
    assert code == 0
    assert number > 8
    names = left(tmp_path / "whole")
    assert names == left(tmp_path / "killed") == {"o.csv", "o.csv.about.json", "o.csv.failures.jsonl"}
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_many_real_clips_that_were_killed_thrice_give_the_file_of_an_undisturbed_run(finished, clips, tmp_path):
    folder = links(tmp_path / "in", clips, NUM_CLIPS)
    out, part = tmp_path / "o.csv", tmp_path / "o.csv.part"
    command = [sys.executable, "-m", "evqa.predict", folder, "--run", finished.path, "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    draw, reached = random.Random(0), 0
    for until in sorted(draw.sample(range(2, NUM_CLIPS - 10), 3)):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and reached <= until:
                time.sleep(0.01)
                reached = part.read_bytes().count(b"\n") if part.exists() else 0
            assert process.poll() is None
            process.kill()
        assert not out.exists()
        with part.open("ab") as file:
            file.write(b'{"id": "torn li')
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert " were done before" in done.stderr
    assert f"{NUM_CLIPS - NUM_CLIPS // 10} scored, {NUM_CLIPS // 10} failed." in done.stderr
    assert len(done.stdout.splitlines()) == NUM_CLIPS
    predict(Request(inputs=[folder], scorer=finished.path, out=tmp_path / "whole.csv"))
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not part.exists()


def stop_after(monkeypatch, number):
    """Stop the command after so many outcomes, in this process; returns how many were asked of the scorer."""
    count, asked, tried = itertools.count(1), [], outcome.tried

    def stopping(item, score):
        if next(count) > number:
            raise KeyboardInterrupt
        asked.append(item.id)
        return tried(item, score)

    monkeypatch.setattr(outcome, "tried", stopping)
    return asked


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_was_scored_is_not_scored_again_whatever_the_format(
    finished, clips, tmp_path, monkeypatch, capsys, suffix
):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    folder = links(tmp_path / "in", clips, 12)
    given = {"inputs": [folder], "scorer": finished.path, "override": ["data.batch_size=2"]}
    predict(Request(**given, out=tmp_path / f"whole.{suffix}"))
    with monkeypatch.context() as patched:
        stop_after(patched, 7)
        with pytest.raises(KeyboardInterrupt):
            predict(Request(**given, out=tmp_path / f"o.{suffix}"))
    said = capsys.readouterr().err
    assert f"Stopped after 7 of 12, which are kept in {tmp_path}/o.{suffix}.part; the same command continues" in said
    asked = stop_after(monkeypatch, 100)
    predict(Request(**given, out=tmp_path / f"o.{suffix}"))
    assert len(asked) == 6  # the seventh was half a batch
    assert (tmp_path / f"o.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()


def test_where_batches_are_sorted_a_command_goes_on_behind_what_was_sorted_together(
    finished, clips, tmp_path, monkeypatch
):
    monkeypatch.setattr(scorer, "SORTED", 2)
    rows = [f"{clip.stem},{'A dog. ' * (number * 5 % 7)}" for number, clip in enumerate(clips[:12])]
    (tmp_path / "t.csv").write_text("\n".join(["Id,Title", *rows]))
    given = {"inputs": [tmp_path / "t.csv"], "videos": clips[0].parent, "scorer": finished.path}
    given["override"] = ["data.batch_size=2", "data.bucket=true"]
    predict(Request(**given, out=tmp_path / "whole.csv"))
    with monkeypatch.context() as patched:
        stop_after(patched, 7)
        with pytest.raises(KeyboardInterrupt):
            predict(Request(**given, out=tmp_path / "o.csv"))
    asked = stop_after(monkeypatch, 100)
    predict(Request(**given, out=tmp_path / "o.csv"))
    assert asked == [clip.stem for clip in clips[4:12]]
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_another_command_does_not_continue_nor_replace_a_file(finished, clips, tmp_path, monkeypatch, capsys):
    out, given = tmp_path / "o.csv", {"scorer": finished.path, "out": tmp_path / "o.csv"}
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            predict(Request(inputs=clips[:5], **given, override=["data.batch_size=1"]))
    sentence = r"o\.csv\.part belongs to a command with other inputs and another --modal and another --override"
    with pytest.raises(ConfigError, match=sentence):
        predict(Request(inputs=clips[:3], modal="v", **given))
    predict(Request(inputs=clips[:5], **given, override=["data.batch_size=1"]))
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=r"o\.csv belongs to a command with other inputs"):
        predict(Request(inputs=clips[:3], **given, override=["data.batch_size=1"]))
    other = tmp_path / "other"
    shutil.copytree(finished.path, other)
    (other / "config.yaml").write_text((other / "config.yaml").read_text() + "# another one\n")
    with pytest.raises(ConfigError, match=r"belongs to a command with another scorer"):
        predict(Request(inputs=clips[:5], scorer=other, out=out, override=["data.batch_size=1"]))
    assert out.read_bytes() == before
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            predict(Request(inputs=clips[:3], overwrite=True, **given, override=["data.batch_size=1"]))
    asked = stop_after(monkeypatch, 100)
    predict(Request(inputs=clips[:3], overwrite=True, **given, override=["data.batch_size=1"]))
    assert len(asked) == 1  # replacing a file is continued too
    assert len(out.read_text().splitlines()) == 4
    predict(Request(inputs=clips[:2], overwrite=True, **given))
    assert len(out.read_text().splitlines()) == 3


def test_a_complete_file_is_left_alone_and_a_foreign_one_is_not_replaced(
    finished, clips, tmp_path, monkeypatch, capsys
):
    given = {"inputs": clips[:2], "scorer": finished.path, "out": tmp_path / "o.csv"}
    (tmp_path / "o.csv").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"o\.csv is there already, and nothing says what it was made of"):
        predict(Request(**given))
    assert (tmp_path / "o.csv").read_text() == "mine\n"
    predict(Request(**given, overwrite=True))
    about = json.loads((tmp_path / "o.csv.about.json").read_text())
    assert (about["label"], about["range"], about["scored"], about["failed"]) == ("ECR", [0.0, 1.0], 2, 0)
    monkeypatch.setattr(prediction, "load_scorer", None)
    predict(Request(**given))
    assert "o.csv is complete (2 scored, 0 failed): this command has written it before." in capsys.readouterr().err


def test_a_journal_that_is_written_now_or_is_something_else_is_not_touched(finished, clips, tmp_path):
    given = {"inputs": clips[:2], "scorer": finished.path, "out": tmp_path / "o.csv"}
    part = tmp_path / "o.csv.part"
    for foreign in ("a", "a\nb\n"):
        part.write_text(foreign)
        with pytest.raises(FileError, match=r"is no list of scores that evqa has begun"):
            predict(Request(**given, overwrite=True))
        assert part.read_text() == foreign
    part.unlink()
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"another process is writing .*o\.csv\.part now"):
            predict(Request(**given))


def test_nothing_is_left_where_a_scorer_cannot_be_loaded(finished, clips, tmp_path):
    with pytest.raises(ConfigError, match=r"gone: is not there\. A scorer is a run folder"):
        predict(Request(inputs=clips[:2], scorer=tmp_path / "gone", out=tmp_path / "o.csv"))
    assert left(tmp_path) == set()


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_loses_nothing(live, finished, clips, tmp_path):
    arguments = (*clips[:6], "--run", finished.path, "--out", tmp_path / "o.csv", "--override", "data.batch_size=2")
    stop = ("evqa.scoring.outcome", "tried", int(signal.SIGINT), 4)
    assert live(*arguments, at=stop) == 130
    assert len((tmp_path / "o.csv.part").read_text().splitlines()) == 1 + 3
    assert live(*arguments) == 0
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 1 + 6
