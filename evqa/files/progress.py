"""How far something is: one line that is drawn again and again in a terminal, in logs and pipes a line a minute."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO, TypeVar

from evqa.files.log import Stamped, is_told
from evqa.files.names import shown, shown_lines
from evqa.files.streams import say

LINE_SECONDS = 60.0  # between two lines of a log
DRAWING_SECONDS = 0.1  # between two drawings in a terminal
BAR_WIDTHS = (6, 30)  # least and most columns
CONTINUES = "the same command continues"
BEGINS_ANEW = "the same command begins anew"
Value = TypeVar("Value")


class Stopped(KeyboardInterrupt):
    """Ctrl-C, and what there is to say of it. where: "in epoch 2/10". then: what the same command will do."""

    def __init__(self, where: str, *, then: str = CONTINUES) -> None:
        super().__init__(f"Stopped {where}; {then}.")
        self.where, self.then = where, then


def say_stop(stop: KeyboardInterrupt) -> None:
    """Print the sentence of a Ctrl-C that has one; any other was told where it came, or left nothing to tell."""
    if isinstance(stop, Stopped):
        say(stop, sys.stderr)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where something stands. place: "epoch 2/10, step 64/320". share: of the whole that is done, 0 to 1.

    facts: the most important one first. left_s: seconds to the end, None where nothing tells them yet. took_s: seconds
    in all, of what has ended.
    """

    place: str
    share: float
    facts: tuple[str, ...] = ()
    left_s: float | None = None
    took_s: float | None = None

    @property
    def time(self) -> tuple[str, ...]:
        """The time that is left, or was taken, in words; nothing where neither is known."""
        if self.took_s is not None:
            return (f"took {duration(self.took_s)}",)
        if self.left_s is None:
            return ()
        return (f"{'about ' if self.left_s >= 1 else ''}{duration(self.left_s)} left",)

    def __str__(self) -> str:
        return ", ".join([self.place, *self.facts, *self.time])

    def drawn(self, width: int, *, marks: tuple[str, str] = ("━", "─")) -> str:
        """As one line of at most `width` columns: a bar, and as many facts as there is room for."""
        facts: list[str] = []
        least = BAR_WIDTHS[0] + 1
        for fact in self.facts:
            if len(", ".join([self.place, *facts, fact, *self.time])) + least <= width:
                facts.append(fact)
        text = ", ".join([self.place, *facts, *self.time])
        room = min(width - len(text) - 1, BAR_WIDTHS[1])
        if room < BAR_WIDTHS[0]:
            return text[:width]
        done = round(room * min(1.0, max(0.0, self.share)))
        return f"{marks[0] * done}{marks[1] * (room - done)} {text}"


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def rate(per_second: float) -> str:
    """A number a second in two digits or more."""
    return f"{per_second:.0f}" if per_second >= 10 else f"{per_second:.2g}"


def seconds_left(done: int, total: int, *, seconds: float) -> float | None:
    """What the rest will take at the pace so far; None where nothing is done yet."""
    return seconds / done * (total - done) if done else None


class Teller:
    """Tells where something stands on a standard stream: the same line again in a terminal, else new lines.

    wanted: whether anything is told; nothing is where the log's level leaves out notes. In a terminal whatever else is
    printed meanwhile stands above the line.
    """

    def __init__(self, *, stderr: bool = False, wanted: bool = True) -> None:
        self.wanted = wanted and is_told("info")
        self.stream: TextIO = sys.stderr if stderr else sys.stdout
        self.is_drawn = self.wanted and self.stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        self._last = time.monotonic()
        self._stands = self._inside_line = False
        self._replaced: dict[str, Any] = {}

    def open(self) -> None:
        """Begin. Until `close`, what others write to this terminal takes the line away first."""
        if not self.is_drawn or self._replaced:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream.isatty():
                self._replaced[name] = stream
                setattr(sys, name, _OtherText(stream, self))

    def close(self) -> None:
        """Take the line away and give the streams back."""
        self.erase()
        for name, stream in self._replaced.items():
            setattr(sys, name, stream)
        self._replaced = {}

    @property
    def is_due(self) -> bool:
        """Whether `tell` will show anything that is no milestone."""
        pause = DRAWING_SECONDS if self.is_drawn else LINE_SECONDS
        return self.wanted and time.monotonic() - self._last >= pause

    def tell(self, standing: Standing, *, milestone: bool = False) -> None:
        """Show where it stands, unless that was done a moment ago. milestone: in any case."""
        if not self.wanted or not (milestone or self.is_due) or self._inside_line:
            return
        self._last = time.monotonic()
        if self.is_drawn:
            # Left at its own beginning, the cursor is there after a resize too, however the terminal wraps lines.
            line = shown(standing.drawn(self._width() - 1, marks=self._marks()))
            self._write(f"\r\x1b[J{line}\r")
            self._stands = True
        else:
            self.say(str(standing))

    def say(self, text: str) -> None:
        """Print a line that stays, with the time of day where that is no terminal."""
        stamp = "" if self.is_drawn or isinstance(self.stream, Stamped) else f"{datetime.now():%Y-%m-%d %H:%M:%S} "
        self.erase()
        self._write(f"{stamp}{shown_lines(text)}\n")

    def erase(self) -> None:
        """Take the line away, until it is drawn again."""
        if self._stands:
            self._write("\r\x1b[J")
            self._stands = False

    def beside(self, stream: TextIO, text: str) -> int:
        """Write what is not the line's own."""
        if text:
            self.erase()
            self._inside_line = not text.endswith(("\n", "\r", "\x1b[J"))
        return stream.write(text)

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def _width(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        return 80

    def _marks(self) -> tuple[str, str]:
        return ("━", "─") if (self.stream.encoding or "").lower().startswith("utf") else ("#", "-")


class _OtherText:
    """Stands in for a standard stream of the terminal in which a line is drawn."""

    def __init__(self, stream: TextIO, teller: Teller) -> None:
        self._stream, self._teller = stream, teller

    def write(self, text: str) -> int:
        return self._teller.beside(self._stream, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Counting:
    """Counts what is done of `total`, None while that is not known. begin: how many of them were done before."""

    def __init__(self, what: str, total: int | None, *, begin: int, teller: Teller) -> None:
        self.what, self.total, self.begin, self.done, self.teller = what, total, begin, begin, teller
        self.started = time.monotonic()

    @property
    def place(self) -> str:
        """What is done and how much of it."""
        return f"{self.what}, {self.done}{'' if self.total is None else f'/{self.total}'}"

    def move(self, done: int) -> None:
        """Say how many are done now."""
        self.done = done
        self.teller.tell(self.standing(), milestone=self.teller.is_drawn and done == self.total)

    def standing(self, *, is_over: bool = False) -> Standing:
        """Where it stands."""
        seconds, num_new = max(1e-6, time.monotonic() - self.started), self.done - self.begin
        return Standing(
            place=self.place,
            share=self.done / self.total if self.total else 0.0,
            facts=(f"{rate(num_new / seconds)}/s",) if num_new else (),
            left_s=None if self.total is None else seconds_left(num_new, self.total - self.begin, seconds=seconds),
            took_s=seconds if is_over else None,
        )

    def watch(self, values: Iterable[Value]) -> Iterator[Value]:
        """Hand values on and count them."""
        for value in values:
            yield value
            self.move(self.done + 1)


@contextlib.contextmanager
def counted(
    what: str, total: int | None, *, begin: int = 0, stderr: bool = False, wanted: bool = True, then: str = CONTINUES
) -> Iterator[Counting]:
    """Tell how many of `total` are done, as `what` ("scoring val") says; where nothing is left to do, nothing.

    stderr: where the standard output is for results. then: what the same command does after Ctrl-C.

    Raises:
        Stopped: Ctrl-C, with the place where it came.
    """
    counting = Counting(what, total, begin=begin, teller=Teller(stderr=stderr, wanted=wanted and total != begin))
    counting.teller.open()
    try:
        yield counting
        if not counting.teller.is_drawn and counting.done == total:
            counting.teller.tell(counting.standing(is_over=True), milestone=True)
    except KeyboardInterrupt as stop:
        raise _with_sentence(stop, f"while {counting.place}", then) from None
    finally:
        counting.teller.close()


@contextlib.contextmanager
def staged(stages: Sequence[str], *, then: str = CONTINUES) -> Iterator[Callable[[], None]]:
    """Tell on the standard error stream which stage is under way, the first one at once; gives what begins the next.

    Raises:
        Stopped: Ctrl-C, with the stage in which it came.
    """
    teller, begun = Teller(stderr=True), list[str]()

    def begin() -> None:
        begun.append(stages[len(begun)])
        place = f"{begun[-1]}, step {len(begun)} of {len(stages)}"
        teller.tell(Standing(place=place, share=(len(begun) - 1) / len(stages)), milestone=True)

    teller.open()
    try:
        begin()
        yield begin
    except KeyboardInterrupt as stop:
        raise _with_sentence(stop, f"while {begun[-1]}", then) from None
    finally:
        teller.close()


@contextlib.contextmanager
def stoppable(where: str, *, then: str = CONTINUES) -> Iterator[None]:
    """Give Ctrl-C its sentence wherever it comes in a command. where: "before the report was written".

    Raises:
        Stopped: Ctrl-C, with this sentence or a closer one.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise _with_sentence(stop, where, then) from None


def _with_sentence(stop: KeyboardInterrupt, where: str, then: str) -> Stopped:
    return stop if isinstance(stop, Stopped) else Stopped(where, then=then)
