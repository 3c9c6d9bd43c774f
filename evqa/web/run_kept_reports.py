"""Reports that already lie below a folder of runs: pages from outside, shown as data."""

from __future__ import annotations

import json
import os
import re
import stat
from datetime import datetime
from pathlib import Path

from evqa.errors import FileError, RunError
from evqa.files.regular import why
from evqa.web.fragments import Markup, tag
from evqa.web.run_folders import RunFolders

PAGE, NUMBERS = "report.html", "report.json"  # of `evqa report --out FOLDER`
MAX_BYTES = 10_000_000  # a real page has 2 MB at most
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
# Elements for which a browser connects with another host (without asking it anything), or empties the frame, although
# sandbox and policy forbid what they lead to. `animate` and `set` can give an SVG's `a` an address again.
LEADING = re.compile(r"<(a|area|link|iframe|frame|object|embed|animate|set)(?=[\s/>])[^>]*?(/?)>", re.IGNORECASE)


def find_reports(folders: RunFolders) -> dict[str, Path]:
    """Return the folders with the two files of a report by their places; no link is followed. Raises OSError."""
    found = {}
    for place, inner, files in os.walk(folders.root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if {PAGE, NUMBERS} <= set(files):
            found[folders.name_of(Path(place))] = Path(place)
    return found


def kept_report(folders: RunFolders, name: str) -> Markup:
    """Show a report in a frame, with where it comes from.

    Raises:
        RunError: there is no such report.
        FileError: its files are not of their own, or too large.
    """
    place = find_reports(folders).get(name)
    if place is None:
        raise RunError(f"{name}: there is no such report. Choose one of the list.")
    said = f"Made {_day(place / NUMBERS)} by evqa report; it lies at {name}/{PAGE}. Its links lead nowhere here."
    return tag("div", tag("p", said), frame(_read(place / PAGE)))


def frame(page: str) -> Markup:
    """Show a page where it runs no script, asks no host, and leads nowhere."""
    policy = f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    end = page.rfind(">") + 1  # behind it, where the pattern would search in vain from every place, no tag is complete
    inert = LEADING.sub(r"<\1\2>", page[:end]) + page[end:]
    return tag("iframe", srcdoc=policy + inert, sandbox="", title="report", class_="evqa-report")


def _day(file: Path) -> str:
    """Say when a report was made, as its numbers tell."""
    try:
        made = datetime.fromisoformat(json.loads(_read(file))["provenance"]["date"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "at a time that it does not tell"
    return f"on {made:%Y-%m-%d %H:%M} {made:%Z}".rstrip()


def _read(file: Path) -> str:
    """Read a text file that may come from anybody: no link is followed, no pipe waited for. Raises FileError."""
    try:
        with open(
            file, opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK), mode="rb"
        ) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise FileError(file, "is no ordinary file")
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileError(file, why(error, "read")) from error
    if len(content) > MAX_BYTES:
        raise FileError(file, f"has more than {MAX_BYTES:,} bytes, so it is not what evqa report has written")
    return content.decode("utf-8", "replace")
