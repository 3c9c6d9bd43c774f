"""A process that ends with the one that started it."""

from __future__ import annotations

import os
import threading
import time


def end_with_parent(*, check_seconds: float) -> None:
    """End this process soon after its parent, whatever it is doing then; a killed parent cannot tell it to.

    check_seconds: how often it asks whether the parent is still there. The exit status is 1.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(check_seconds)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
