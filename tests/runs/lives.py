"""A program that has imported everything and forks a life of `python -m evqa.COMMAND` for each line it reads.

A line: {"command": "train" (or another one), "arguments": [...], "at": null or one of
    ["module", "Class.function", signal, calls]   the life sends itself the signal inside the function's so-manieth call
    ["files", folder, number]                     the life is killed in its so-manieth change of a file below the folder
}. Answers with the life's exit code, negative where a signal killed it.
"""

import builtins
import importlib
import io
import json
import os
import signal
import sys

import evqa.runs.fit
import evqa.scoring.load  # noqa: F401

CHANGES = ("replace", "rename", "link", "unlink", "remove", "truncate", "mkdir", "fsync")
NUM_WRITES = 3  # of one opened file that count; torch writes hundreds of pieces that are all alike


def interrupt(module, name, number, calls):
    *owners, last = name.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    function, left = getattr(owner, last), iter(range(calls - 1, -1, -1))

    def interrupted(*arguments, **options):
        if next(left, None) == 0:
            os.kill(os.getpid(), number)
        return function(*arguments, **options)

    setattr(owner, last, interrupted)


class Changes:
    """Counts what changes files below a folder, and kills the process at its turn."""

    def __init__(self, folder, number):
        self.folder, self.left = f"{folder}/", number

    def count(self):
        self.left -= 1
        return self.left == 0

    def is_below(self, path):
        return os.path.realpath(path).startswith(self.folder)

    def watch(self):
        for name in CHANGES:
            setattr(os, name, self.counted(getattr(os, name)))
        io.open = builtins.open = self.opened(io.open)

    def counted(self, function):
        def changed(path, *more, **options):
            if self.is_below(f"/proc/self/fd/{path}" if isinstance(path, int) else path) and self.count():
                os.kill(os.getpid(), signal.SIGKILL)
            return function(path, *more, **options)

        return changed

    def opened(self, function):
        def open_(file, mode="r", *more, **options):
            if isinstance(file, int) or not set(mode) & set("wax+") or not self.is_below(file):
                return function(file, mode, *more, **options)
            raw = Written(self, file, mode.replace("b", "").replace("t", ""))
            buffered = io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *more[1:], **options)

        return open_


class Written(io.FileIO):
    """A file whose writer may die in the middle of a write."""

    def __init__(self, changes, path, mode):
        super().__init__(path, mode)
        self.changes, self.num_writes = changes, 0

    def write(self, data):
        self.num_writes += 1
        if self.num_writes <= NUM_WRITES and self.changes.count():
            super().write(bytes(data)[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(data)


def live(command, arguments, at):
    if at and at[0] == "files":
        Changes(*at[1:]).watch()
    elif at:
        interrupt(*at)
    try:
        return importlib.import_module(f"evqa.{command}").main(arguments) or 0
    except SystemExit as end:
        return end.code
    finally:
        sys.stderr.flush()


signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has it ignored
for line in sys.stdin:
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    os.dup2(2, 1)  # the answers are alone on the standard output
    code = 70
    try:
        code = live(**{"command": "train"} | json.loads(line))
    finally:
        os._exit(code)
