"""What docs/scoring.md says to put into a crontab and into a program works as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/scoring.md").read_text(encoding="utf-8")
SECTION = DOCS.partition("## From a program or cron")[2].partition("\n## ")[0]


@pytest.fixture
def place(finished, clips, tmp_path):
    """A folder with the files of the examples; what stands for the user's own places in a text is put in."""
    (tmp_path / "incoming").mkdir()
    for name in ("a.mp4", "b.mp4", "incoming/c.mp4"):
        (tmp_path / name).symlink_to(clips[0])
    (tmp_path / "incoming/bad.mp4").write_text("no video")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/evqa"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m evqa "$@"\n')
    program.chmod(0o755)
    places = {
        "/home/me/evqa/.venv/bin": str(tmp_path / "bin"),
        "/models/RUN": str(finished.path),
        "/data": str(tmp_path),
    }

    def put_in(text):
        for theirs, ours in places.items():
            text = text.replace(theirs, str(ours))
        return text

    return tmp_path, put_in


def test_the_line_of_a_crontab(place):
    folder, put_in = place
    (table,) = re.findall(r"```\n(PATH=.*?)```", SECTION, re.DOTALL)
    *variables, line = put_in(table).splitlines()
    command = line.removeprefix("0 3 * * * ").replace("\\%", "%")
    own = dict(variable.split("=", 1) for variable in variables)
    environment = {"HOME": str(folder), "PYTHONPATH": str(ROOT), **own}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    (scores,) = folder.glob("scores-*.csv")
    assert re.fullmatch(r"Id,ECR\nc,0\.\d+\n", scores.read_text())
    log = (folder / "scores.log").read_text().splitlines()
    assert log[-1] == "evqa: exit status 3"
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", one) for one in log[:-1])
    assert log[-2].endswith("--strict: 1 of 2 inputs have no score.")


def test_the_program(place):
    folder, put_in = place
    (program,) = re.findall(r"```python\n(import json\n.*?)```", SECTION, re.DOTALL)
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", put_in(program)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [(row[0], row[1], row[3]) for row in rows] == [("a.mp4", "scored", "None"), ("b.mp4", "scored", "None")]
    assert done.stderr == ""
