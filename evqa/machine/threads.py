"""Work on many items in a few threads, with few of them begun ahead of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

ROUND_SECONDS = 0.1  # between two attempts to end what is in progress
Item = TypeVar("Item")
Value = TypeVar("Value")


def each_in_threads(
    function: Callable[[Item], Value], items: Iterable[Item], *, num_threads: int, stop: Callable[[], None]
) -> Iterator[tuple[Item, Value]]:
    """Yield (item, value) of every item, in the order in which the values are ready.

    At most twice as many items as threads are taken ahead. An exception of the function is raised here. stop: called
    when an exception, or the end of the iteration, leaves calls in progress that nobody wants any more: it ends them,
    and may be called repeatedly.
    """
    num_threads = max(1, num_threads)
    todo, running = iter(items), dict[Future[Value], Item]()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="each") as pool:
        try:
            running |= {pool.submit(function, item): item for item in islice(todo, 2 * num_threads)}
            while running:
                done = [(running.pop(future), future) for future in wait(running, return_when=FIRST_COMPLETED).done]
                running |= {pool.submit(function, item): item for item in islice(todo, len(done))}
                for item, future in done:
                    yield item, future.result()
        finally:
            left = {future for future in running if not future.cancel()}
            while left:  # a call that had not begun yet when others were ended is ended in the next round
                stop()
                left = wait(left, timeout=ROUND_SECONDS).not_done
