"""How long the server works for one request."""

from __future__ import annotations

import time
from collections.abc import Callable

from evqa.errors import ConfigError

REST = "what takes longer is done by the command line"


class Deadline:
    """The end of the time that one request may take, from now on.

    now: the clock, seconds.
    """

    def __init__(self, seconds: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._ends_at = now, now() + seconds
        self.sentence = f"Stopped: a request may take {seconds:g} s on this page (--max-time); {REST}."

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return self._now() >= self._ends_at

    def check(self) -> None:
        """Raise ConfigError where the time is used up."""
        if self.is_over:
            raise ConfigError([self.sentence])
