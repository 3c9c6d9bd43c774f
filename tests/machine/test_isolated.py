import os
import signal
import time
from pathlib import Path

import pytest

from evqa.errors import MediaError
from evqa.machine.isolated import map_isolated


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


def test_no_items_need_no_process() -> None:
    assert list(map_isolated(act, [], num_workers=2, seconds=1.0)) == []


def test_stopping_early_ends_the_processes() -> None:
    outcomes = map_isolated(act, ["a", "hang", "hang"], num_workers=2, seconds=600.0)
    assert next(outcomes).value == "A"
    started = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5
