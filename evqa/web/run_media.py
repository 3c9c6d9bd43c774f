"""Media files that runs name, given to those who have opened the page."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from evqa.media.suffixes import MEDIA
from evqa.web.guard import COOKIE
from evqa.web.visitors import Visitors

ROUTE = "/runs/media"


class MediaShelf:
    """Files under addresses that nobody can guess: who has not seen the page (after the password) does not know them.

    A run's tables may come from anybody: ordinary files with a name of a media file are given, through links too only
    to such ones.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._places: dict[str, Path] = {}

    def address(self, path: Path) -> str | None:
        """Return where the page finds a file; None where it is no media file."""
        place = Path(os.path.realpath(path))
        if not _is_media(place):
            return None
        key = hmac.new(self._secret, os.fsencode(place), "sha256").hexdigest()
        self._places[key] = place
        return f"{ROUTE}/{key}{place.suffix.lower()}"

    def place(self, key: str) -> Path | None:
        """Return the file of an address, None where there is none, or not any more."""
        place = self._places.get(key.partition(".")[0])
        return place if place is not None and _is_media(place) else None


def add_route(app: Any, shelf: MediaShelf, visitors: Visitors) -> None:
    """Let a FastAPI application give the files of the shelf; players ask for parts of them (Range)."""

    def give(request: Request) -> Response:
        place = shelf.place(request.path_params["key"])
        if not visitors.is_known(request.cookies.get(COOKIE, "")):
            return JSONResponse({"error": "Open the page first."}, status_code=403)
        if place is None:
            return JSONResponse({"error": "There is no such file."}, status_code=404)
        return FileResponse(place)

    app.add_route(f"{ROUTE}/{{key}}", give, methods=["GET"])


def _is_media(place: Path) -> bool:
    try:
        return place.suffix.lower() in MEDIA and stat.S_ISREG(place.lstat().st_mode)
    except (OSError, ValueError):
        return False
