"""A terminal that programs are run in, and what it shows."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 240  # for anything that is waited for


def _take_over():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background shell has it ignored


class Screen:
    """A program in a terminal of so many columns, which cuts what is too long as xterm does. rows: what it shows."""

    def __init__(self, columns, *command, **environment):
        self.leader, follower = pty.openpty()
        settings = termios.tcgetattr(follower)
        settings[3] &= ~termios.ECHO  # what is typed is not shown
        termios.tcsetattr(follower, termios.TCSANOW, settings)
        self.rows, self.place = [""], 0
        self.resize(columns)
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
            preexec_fn=_take_over,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "PYTHONUTF8": "1", **environment},
        )
        os.close(follower)

    def resize(self, columns):
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def type(self, text):
        os.write(self.leader, text.encode())

    def until(self, words):
        """Show what the program writes until a row holds the words, or it ends."""
        pending, until = b"", time.monotonic() + SECONDS
        while words is None or not any(words in row for row in self.rows):
            assert select.select([self.leader], [], [], max(0, until - time.monotonic()))[0], self.rows
            try:
                pending += os.read(self.leader, 4096)
            except OSError:  # it has ended
                self.process.wait()
                return self.rows
            text = pending.decode(errors="ignore")
            pending = pending[len(text.encode()) :]
            for part in re.findall(r"\x1b\[J|\x1b\[[0-9;?]*[a-zA-Z]|[\r\n]|[^\r\n\x1b]+", text):
                self.show(part)
        return self.rows

    def show(self, part):
        row = self.rows[-1]
        if part == "\n":
            self.rows.append("")
        elif part == "\r":
            self.place = 0
        elif part == "\x1b[J":
            self.rows[-1] = row[: self.place]
        elif part[0] != "\x1b":
            self.rows[-1] = row[: self.place] + part + row[self.place + len(part) :]
            self.place += len(part)
