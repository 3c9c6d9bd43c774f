"""One holder at a time, also where a lock's folder is removed and where somebody only looks."""

import os
import subprocess
import sys
import threading
import time

import pytest

from evqa.files.lock import held, is_held

HOLDER = "import sys, time; from pathlib import Path; from evqa.files.lock import held\n\
with held(Path(sys.argv[1])) as ours: print(ours, flush=True); time.sleep(60)"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the file; returns its path and the process."""
    path = tmp_path / "run" / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield path, process
        process.kill()


def test_a_file_is_held_by_one_process_until_it_dies(holder):
    path, process = holder
    assert is_held(path)
    with held(path) as ours:
        assert not ours
    process.kill()
    with held(path, patience_s=10.0) as ours:
        assert ours
    assert not is_held(path)


def test_who_waits_for_a_file_that_is_removed_gets_the_new_one(tmp_path):
    path = tmp_path / "run" / ".lock"
    with held(path) as first:
        assert first
        found = []
        waiting = threading.Thread(target=lambda: found.append(_holds(path)))
        waiting.start()
        time.sleep(0.1)
        path.unlink()
        path.parent.rmdir()
    waiting.join()
    assert found == [True]


def _holds(path):
    with held(path, patience_s=10.0) as ours:
        return ours and is_held(path)


def test_who_looks_is_not_taken_for_a_holder(tmp_path):
    path = tmp_path / ".lock"
    done = threading.Event()

    def look():
        while not done.is_set():
            is_held(path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            with held(path, patience_s=2.0) as ours:
                assert ours
    finally:
        done.set()
        looking.join()


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path):
    (tmp_path / ".lock").symlink_to("/dev/zero")
    with pytest.raises(OSError, match=os.strerror(40)):
        is_held(tmp_path / ".lock")
