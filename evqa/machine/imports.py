"""Import heavy packages at the least cost: without garbage collection, which takes a fifth of Lightning's import.

It frees nothing there. What is imported is then left out of all later collections, so that those of a training are
short and the one at the process's end, which took as long as importing torch, looks at little.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import without garbage collection.

    Nothing is left out of later ones where all was imported before, as in the second run of a sweep: the first run's
    model may still wait for its collection.
    """
    was_enabled, num_before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > num_before:
            gc.freeze()
        if was_enabled:
            gc.enable()


def collect_again() -> None:
    """End a time without garbage collection, where there is one: what exists now is left out of later ones."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
