"""What child processes may import: the same as this process, but nothing from the current folder.

Python puts the current folder first on the path of `-m` and `-c`. Beside downloaded data may lie a `rich.py`.
"""

# Imports nothing that a folder could replace: this runs before the path is safe.
import os
import sys

PACKAGE_PLACE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120


def leave_current_folder() -> None:
    """Take the current folder off this process's path, and off that of all Python programs that it will start.

    A checkout that is run from its root stays on it.
    """
    sys.path[:] = safe_path()
    if not _finds_package():
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (PACKAGE_PLACE, os.environ.get("PYTHONPATH"))))
    os.environ["PYTHONSAFEPATH"] = "1"


def child_environment() -> dict[str, str]:
    """Return the environment of a Python child that imports what this process does, whatever `sys.path` was made of."""
    return os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(safe_path())}


def safe_path() -> list[str]:
    """Return `sys.path` without the current folder, unless this package lies there."""
    here = current_folder()
    entries = [os.path.abspath(entry) for entry in sys.path if entry and isinstance(entry, str)]  # noqa: PTH100
    return [entry for entry in entries if entry == PACKAGE_PLACE or not _same(entry, here)]


def _finds_package() -> bool:
    """Whether a Python that is started with PYTHONSAFEPATH finds this package by itself."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return PACKAGE_PLACE in given or not _same(PACKAGE_PLACE, current_folder())


def current_folder() -> str:
    """Return the current folder; empty where it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it was removed
        return ""


def _same(entry: str, folder: str) -> bool:
    return bool(folder) and os.path.realpath(entry) == os.path.realpath(folder)
