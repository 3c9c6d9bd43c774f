"""Many items in a few threads."""

import threading
import time

import pytest

from evqa.machine.threads import each_in_threads


def nothing_to_stop() -> None:
    pytest.fail("no call is in progress")


def test_every_item_is_answered_with_its_own_value():
    found = each_in_threads(lambda number: number**2, range(50), num_threads=3, stop=nothing_to_stop)
    assert dict(found) == {number: number**2 for number in range(50)}
    assert list(each_in_threads(str, [], num_threads=3, stop=nothing_to_stop)) == []


def test_what_is_ready_first_comes_first():
    slow = threading.Event()
    found = each_in_threads(
        lambda word: slow.wait(60) if word == "slow" else None, ["slow", "a", "b"], num_threads=2, stop=slow.set
    )
    assert [next(found)[0], next(found)[0]] == ["a", "b"]
    slow.set()
    assert next(found)[0] == "slow"


def test_few_items_are_taken_ahead():
    taken = []
    found = each_in_threads(str, (taken.append(number) or number for number in range(10**6)), num_threads=2, stop=list)
    for _ in range(10):
        next(found)
    found.close()
    assert len(taken) <= 10 + 2 * (2 * 2)


@pytest.mark.parametrize("end", ["left early", "an error"])
def test_calls_in_progress_are_stopped(end):
    hanging, begun = threading.Event(), []

    def work(word):
        begun.append(word)
        if word == "wrong":
            raise ValueError("wrong")
        return word == "hang" and hanging.wait(60)

    words = ["hang", "wrong" if end == "an error" else "fine", "hang", "hang", "hang"]
    found = each_in_threads(work, words, num_threads=2, stop=hanging.set)
    started = time.monotonic()
    if end == "an error":
        with pytest.raises(ValueError, match="wrong"):
            next(found)
    else:
        assert next(found)[0] == "fine"
        found.close()
    assert time.monotonic() - started < 30
    assert len(begun) < len(words)  # those that waited for a thread are not begun any more
