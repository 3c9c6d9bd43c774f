"""What training tells while it runs, as processes of their own in a pipe and in a terminal."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.screen import Screen

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
FACTS = r"loss [\d.e-]+, val -?\d\.\d{4}, \d+ samples/s, (about )?(\d+|under 1) (s|min) left"


@pytest.fixture
def told(small, tmp_path):
    """Arguments of a training of five steps an epoch that tells of itself."""
    quiet = {"trainer.progress=false", *(each for each in small if each.startswith(("run.root", "trainer.epochs")))}
    return (
        "-m",
        "evqa.train",
        *(each for each in small if each not in quiet),
        f"run.root={tmp_path}",
        "data.batch_size=8",
    )


@pytest.mark.slow
def test_a_pipe_gets_one_line_an_epoch_and_a_finished_run_none(told):
    command = [sys.executable, *told, "trainer.epochs=3"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if re.match(rf"{STAMP}epoch", line)]
    assert len(lines) == 3, done.stdout
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(rf"{STAMP}epoch {number}/3, step {5 * number}/15, {FACTS}", line), line
    assert re.search(rf"(?m)^{STAMP}scoring val, 16/16, [\d.]+/s, took", done.stdout)
    assert "\x1b" not in done.stdout
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert not re.search(STAMP, again.stdout)


@pytest.mark.slow
def test_a_terminal_keeps_one_line_and_ctrl_c_says_where_the_same_command_continues(told):
    screen = Screen(80, *told, "trainer.epochs=900", OMP_NUM_THREADS="1")
    screen.until("epoch 2/900")
    screen.resize(60)
    rows = screen.until("epoch 3/900")
    assert len([row for row in rows if "epoch" in row]) == 1
    assert re.fullmatch(r"[━─]+ epoch 3/900, step 1\d/4500, about \d+ (s|min) left", rows[-1]), rows[-1]
    screen.process.send_signal(signal.SIGINT)
    rows = screen.until(None)
    assert screen.process.returncode == 130
    sentence = (
        r"Stopped in epoch \d+/900, step \d+/4500(, validation \d/\d)?; the same command continues from step (\d+)\."
    )
    stopped = re.fullmatch(sentence, rows[-2])
    assert stopped, rows[-3:]
    assert not [row for row in rows if re.search("v_num|━ epoch|Traceback", row)]
    again = Screen(120, *told, "trainer.epochs=900", OMP_NUM_THREADS="1")
    rows = again.until("Continuing from last.ckpt")
    again.process.kill()
    again.process.wait()
    assert [row for row in rows if row.endswith(f", step {stopped[2]}.")], rows
