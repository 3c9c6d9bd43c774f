"""The finished run that the tests of `tests/runs` use, and its clips."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def videos(workplace, finished):
    """A folder of 56 small clips."""
    return next((workplace / "synthetic").glob("v*-40-16/videos"))


@pytest.fixture(scope="session")
def clips(videos):
    """Their paths, in order."""
    return sorted(videos.iterdir())


@pytest.fixture(scope="session")
def live():
    """Call with arguments of `python -m evqa.predict` and where it is killed; returns the exit code."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen([sys.executable, root / "tests/runs/lives.py"], **pipes) as process:

        def run(*arguments, at=None):
            line = {"command": "predict", "arguments": [str(argument) for argument in arguments], "at": at}
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
