"""A process that runs one command after the other: `python fresh.py COMMANDS.json`, a list of [name, arguments].

Its random numbers have begun at a place of their own, as in every new process.
"""

import importlib
import json
import sys
from pathlib import Path


def run(name, arguments):
    """Return the exit status, and say which command it was where that is not 0."""
    try:
        code = importlib.import_module(f"evqa.{name}").main(arguments)
    except SystemExit as end:
        code = end.code
    if code:
        print(f"{name} {' '.join(arguments)}: {code}", file=sys.stderr)
    return code


if __name__ == "__main__":
    codes = [run(*command) for command in json.loads(Path(sys.argv[1]).read_text())]
    sys.exit(any(codes))
