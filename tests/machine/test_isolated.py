import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from evqa.errors import MediaError
from evqa.machine import isolated
from evqa.machine.fork_server import StartError
from evqa.machine.isolated import call_isolated, map_isolated


def act(order: str) -> str:
    match order:
        case "hang":
            time.sleep(600)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os._exit(3)
        case "media":
            raise MediaError(Path("x.mp4"), "has no video track")
        case "other":
            raise KeyError("surprise")
    return order.upper()


@pytest.mark.parametrize("num_workers", [1, 3])
def test_one_bad_item_costs_only_itself(num_workers: int) -> None:
    orders = ["a", "crash", "b", "hang", "c", "media", "exit", "other", "d"]
    outcomes = {o.index: o for o in map_isolated(act, orders, num_workers=num_workers, seconds=1.0)}
    assert {orders[at]: outcome.value for at, outcome in outcomes.items() if outcome.error is None} == {
        order: order.upper() for order in "abcd"
    }
    assert {orders[at]: outcome.error for at, outcome in outcomes.items() if outcome.error} == {
        "crash": "killed the process that read it (SIGSEGV)",
        "hang": "took longer than 1 s",
        "media": "has no video track",
        "exit": "killed the process that read it (exit status 3)",
        "other": "KeyError: 'surprise'",
    }


def here(name: str) -> str:
    return str(Path(name).resolve())


def test_a_relative_path_means_the_same_after_the_caller_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        assert call_isolated(here, "x.mp4", seconds=60.0).value == str(tmp_path / folder / "x.mp4")


def test_no_items_need_no_process() -> None:
    assert list(map_isolated(act, [], num_workers=2, seconds=1.0)) == []


def test_stopping_early_ends_the_processes() -> None:
    outcomes = map_isolated(act, ["a", "hang", "hang"], num_workers=2, seconds=600.0)
    assert next(outcomes).value == "A"
    started = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5


def members(session: int) -> list[int]:
    """The processes of a session that are alive."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, *rest = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(rest[2]) == session and state not in "ZX":
            found.append(int(place.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("victim", ["parent", "fork server"])
def test_no_process_outlives_its_parent(victim: str) -> None:
    code = "from tests.machine.lives import ask_two; ask_two()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "working\n"
    family = members(parent.pid)
    assert len(family) == 4  # the parent, the fork server, two at work
    server = min(set(family) - {parent.pid})
    os.kill(parent.pid if victim == "parent" else server, signal.SIGKILL)
    until = time.monotonic() + 20
    left = {server, *family} - {parent.pid}
    while left & set(members(parent.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left & set(members(parent.pid))
    assert until - time.monotonic() > 15  # soon, on a busy machine too
    parent.kill()
    parent.wait()
    parent.stdout.close()


def test_a_process_that_cannot_start_is_not_a_files_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_fork_servers", {})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StartError, match="can be started"):
        call_isolated(act, "c", seconds=1.0)
    monkeypatch.undo()
    assert call_isolated(act, "c", seconds=60.0).value == "C"


def test_a_function_that_cannot_be_imported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "made_here", ModuleType("made_here"))
    monkeypatch.setattr(sys.modules["made_here"], "act", act, raising=False)
    monkeypatch.setattr(act, "__module__", "made_here")
    with pytest.raises(StartError, match="ModuleNotFoundError: No module named 'made_here'"):
        call_isolated(act, "d", seconds=60.0)
