"""A tracker in a thread of its own: told everything in order, waited for at the end alone."""

import threading

import pytest

from evqa.media.limits import Limits
from evqa.runs.background_log import BackgroundLog
from evqa.runs.run_log import RunLog, ended


class Recording(RunLog):
    name = "recording"

    def __init__(self):
        self.told = []

    def log(self, number, row):
        self.told.append(("log", number, row["step"]))

    def summarize(self, split, record):
        self.told.append(("summarize", split, record["n"]))

    def show_items(self, split, scores, records, *, limits):
        self.told.append(("show_items", split, len(records)))

    def publish(self, folder):
        self.told.append(("publish", folder.name))

    def finish(self, exit_code=0):
        self.told.append(("finish", exit_code))


@pytest.mark.timeout(60)
def test_a_training_does_not_wait_for_a_tracker_that_opens_slowly(tmp_path):
    opened, recording = threading.Event(), Recording()

    def open_slowly():
        opened.wait()
        return recording

    log = BackgroundLog(open_slowly)
    rows = [{"step": 0}, {"step": 4}]
    log.replay(rows)
    rows.clear()  # told is what was given
    log.log(2, {"step": 8})
    log.summarize("val", {"n": 3})
    log.show_items("val", [], ["record"], limits=Limits())
    log.publish(tmp_path)
    assert recording.told == []
    opened.set()
    with pytest.raises(KeyboardInterrupt), ended(log):
        raise KeyboardInterrupt
    assert recording.told == [
        ("log", 0, 0),
        ("log", 1, 4),
        ("log", 2, 8),
        ("summarize", "val", 3),
        ("show_items", "val", 1),
        ("publish", tmp_path.name),
        ("finish", 1),
    ]


@pytest.mark.timeout(60)
def test_where_there_is_no_tracker_nothing_is_told_and_the_end_comes():
    log = BackgroundLog(lambda: None)
    log.log(0, {"step": 1})
    log.finish()
    assert not log._thread.is_alive()
