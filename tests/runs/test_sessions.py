"""What a run records of when and where it trains, and what that costs."""

import numpy as np
import pytest

from evqa.files.stored import read_objects
from evqa.machine import memory
from evqa.runs.sessions import session

ABOUT = {"device": "cpu", "num_processes": 1, "num_recomputed": 0}


def test_a_session_says_when_it_began_and_ended_and_what_it_cost(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    before = memory.peak_bytes()
    with session(tmp_path, is_new=True, **ABOUT):
        held = np.ones(30_000_000)  # 240 MB
        del held
    began, ended = read_objects(tmp_path / "sessions.jsonl")
    assert set(began) == {"began", "host", *ABOUT}
    assert began["began"] <= ended["ended"]
    assert began["began"].endswith("+00:00")
    assert 0 < ended["seconds"] < 60
    assert ended["cpu_seconds"] > 0
    assert ended["peak_bytes"] is None or ended["peak_bytes"] > 200e6 or before is None
    assert ended["peak_gpu_bytes"] is None
    assert "secret" not in (tmp_path / "sessions.jsonl").read_text()


def test_on_a_card_its_peak_is_counted_anew(tmp_path, monkeypatch):
    peaks = [9e9]
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", peaks.clear)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: max(peaks))
    with session(tmp_path, **ABOUT | {"device": "cuda"}, is_new=True):
        peaks.append(5)
    assert read_objects(tmp_path / "sessions.jsonl")[1]["peak_gpu_bytes"] == 5


def test_sessions_follow_each_other_until_a_run_begins_anew(tmp_path):
    with pytest.raises(KeyboardInterrupt), session(tmp_path, is_new=True, **ABOUT):
        raise KeyboardInterrupt
    with session(tmp_path, is_new=False, **ABOUT):
        pass
    assert [("began" in row, "ended" in row) for row in read_objects(tmp_path / "sessions.jsonl")] == [
        (True, False),
        (False, True),
    ] * 2
    with session(tmp_path, is_new=True, **ABOUT):
        (only,) = read_objects(tmp_path / "sessions.jsonl")
    assert "began" in only


def test_a_run_goes_on_where_a_session_cannot_be_written(tmp_path):
    (tmp_path / "sessions.jsonl").mkdir()
    done = []
    with session(tmp_path, is_new=False, **ABOUT):
        done.append(True)
    assert done


def test_the_peak_is_counted_anew_and_unknown_where_the_system_does_not_say(tmp_path, monkeypatch):
    if not memory.forget_peak():
        pytest.skip("this system does not count a peak anew")
    held = np.ones(30_000_000)
    high = memory.peak_bytes()
    del held
    memory.forget_peak()
    assert memory.peak_bytes() < high - 100e6
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "none")
    assert (memory.forget_peak(), memory.peak_bytes()) == (False, None)


def test_a_finished_run_has_recorded_one_session(finished):
    began, ended = read_objects(finished.path / "sessions.jsonl")
    assert (began["device"], began["num_processes"]) == ("cpu", 1)
    assert ended["seconds"] > 0
