"""What the tests run in processes of their own."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from evqa.machine.isolated import call_isolated


def act(order):
    if order == "hang":
        time.sleep(600)
    return order


def ask_two():
    """Say when two processes are at work, then wait for them."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda order: call_isolated(act, order, seconds=600), ["a", "b"]))
        calls = [pool.submit(call_isolated, act, "hang", seconds=600) for _ in range(2)]
        time.sleep(0.5)
        sys.stdout.write("working\n")
        sys.stdout.flush()
        for call in calls:
            call.result()
