"""What the tests ask a SLURM cluster, and how they read what runs left."""

import contextlib
import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from evqa.training.folder import RunFolder


class Cluster:
    """environment: of every command here, and so of every job."""

    def __init__(self, environment):
        self.environment = environment

    def tell(self, *command):
        """Run a command of SLURM; returns what it prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    def start(self, *command):
        """Start a program in a process group of its own."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=self.environment, start_new_session=True, **pipes)

    def train(self, *arguments):
        """Start `python -m evqa.train`."""
        return self.start(sys.executable, "-m", "evqa.train", *arguments)

    def fact(self, job, name):
        """One of the facts that `scontrol show job` tells, e.g. JobState or Restarts."""
        return re.search(rf"\b{name}=(\S+)", self.tell("scontrol", "show", "job", job)).group(1)

    def wait_for(self, job, states, *, log=None):
        """Wait until a job is in one of the states; fails with the job's log when it ended otherwise."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")

        def there():
            state = self.fact(job, "JobState")
            if state in states:
                return True
            assert state not in ended, f"{state}: {log.read_text() if log and log.exists() else ''}"
            return False

        wait(there)


def wait(condition, *, seconds=240):
    """Wait until something is true; returns it."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)
    return value


def started_with(argument):
    """The numbers of all processes that were started with an argument."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ends by itself meanwhile
            if argument.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def kill(numbers):
    """Send SIGKILL to processes that may have ended."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def runs(root):
    return [RunFolder(config.parent) for config in sorted(root.glob("*/*/config.yaml"))]


def prediction(run):
    assert run.is_finished
    return list(csv.reader(run.prediction("val").read_text().splitlines()))
