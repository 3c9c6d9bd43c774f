"""A program that has imported everything and forks a life of `python -m evqa.train` for each line it reads.

A line: {"arguments": [...], "at": ["module", "Class.function", signal, calls] or null}. The life sends itself the
signal inside the function's so-manieth call. Answers with the life's exit code, negative where a signal killed it.
"""

import importlib
import json
import os
import signal
import sys

import evqa.runs.fit
import evqa.train


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


def live(arguments, at):
    if at:
        interrupt(*at)
    try:
        return evqa.train.main(arguments)
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
        code = live(**json.loads(line))
    finally:
        os._exit(code)
