"""The web server around the page: one process on one port."""

from __future__ import annotations

import errno
import logging
import math
import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evqa import __version__
from evqa.errors import ConfigError, MissingDependencyError
from evqa.files.streams import say
from evqa.web.guard import LOOPBACK, Guard
from evqa.web.scorers import OfferedScorer, load_offered
from evqa.web.visitors import Visitors, delete_given_up

CLEANING_SECONDS = 5.0
LEAVING_SECONDS = 3.0  # for deleting files and last words
LAST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """The flags of `evqa serve`."""

    scorer: list[str]
    runs: Path | None
    host: str
    port: int
    password_file: Path | None
    i_know_it_is_open: bool
    max_megabytes: float
    max_length: float | None
    max_time: float
    max_waiting: int
    open: bool
    device: str
    override: list[str]


def serve(request: ServeRequest) -> None:
    """Load the scorers, open the page, serve until Ctrl-C.

    Raises:
        ConfigError: the address cannot be used, or is open to others without a word about it.
    """
    _check_offer(request)
    _check_numbers(request)
    _check_open(request)
    users = None if request.password_file is None else read_users(request.password_file)
    with _listening(request.host, request.port) as listener, _own_files() as files:
        offered = load_offered(
            request.scorer, overrides=_overrides(request), device=request.device, max_seconds=request.max_time
        )
        app, visitors = make_app(offered, request, users=users)
        threading.Thread(target=_clean, args=(visitors, Path(files)), daemon=True).start()
        host, port = listener.getsockname()[:2]
        named = f"[{host}]" if ":" in host else host
        say(
            f"The page: http://{named}:{port}/ (Ctrl-C ends it; uploads lie in {files} until then at most).", sys.stderr
        )
        if request.open:
            # What asks before the page is served waits for it; a browser in the terminal lasts as long as it is open.
            threading.Thread(target=webbrowser.open, args=(f"http://{named}:{port}/",), daemon=True).start()
        _run(app, listener)


def make_app(
    offered: Mapping[str, OfferedScorer], request: ServeRequest, *, users: list[tuple[str, str]] | None
) -> tuple[Any, Visitors]:
    """Join page, health and guard."""
    import gradio as gr
    from fastapi import FastAPI

    from evqa.web.page import STYLE, build_page, theme
    from evqa.web.run_folders import RunFolders
    from evqa.web.run_media import MediaShelf, add_route

    runs = None if request.runs is None else RunFolders(request.runs)
    shelf, visitors = MediaShelf(), Visitors()
    page = build_page(offered, runs=runs, shelf=shelf).queue(max_size=request.max_waiting, default_concurrency_limit=1)
    inner = FastAPI(openapi_url=None)

    @inner.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "version": __version__, "scorers": list(offered)}

    add_route(inner, shelf, visitors)
    max_bytes = int(request.max_megabytes * 1e6)
    mounted = gr.mount_gradio_app(
        inner,
        page,
        path="",
        auth=users,
        max_file_size=max_bytes,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        footer_links=["api"],
        theme=theme(),
        css=STYLE,
    )
    is_open = request.host not in LOOPBACK
    hosts = None if is_open else LOOPBACK
    guard = Guard(
        mounted, visitors=visitors, hosts=hosts, max_upload_bytes=max_bytes, max_upload_seconds=request.max_time
    )
    return guard, visitors


def _overrides(request: ServeRequest) -> list[str]:
    length = request.max_length
    return [*([] if length is None else [f"data.limits.max_seconds={length}"]), *request.override]


def _check_offer(request: ServeRequest) -> None:
    if not request.scorer and request.runs is None:
        raise ConfigError(["There is nothing to show: give --scorer PLACE, --runs FOLDER, or both."])
    if request.runs is not None and not request.runs.is_dir():
        raise ConfigError([f"--runs {request.runs}: there is no such folder."])


def _check_numbers(request: ServeRequest) -> None:
    problems = []
    if not 0 <= request.port <= LAST_PORT:
        problems.append(f"--port {request.port}: give a number from 0 (any that is free) to {LAST_PORT}.")
    for name in ("max_megabytes", "max_length", "max_time"):
        number = getattr(request, name)
        if number is not None and not 0 < number < math.inf:
            problems.append(f"--{name.replace('_', '-')} {number:g}: give a number above 0.")
    if request.max_waiting < 1:
        problems.append(f"--max-waiting {request.max_waiting}: give a whole number from 1 on.")
    if problems:
        raise ConfigError(problems)


def _check_open(request: ServeRequest) -> None:
    if request.host in LOOPBACK or request.password_file is not None or request.i_know_it_is_open:
        return
    raise ConfigError(
        [f"--host {request.host}: others could use this page, and the GPU behind it. Give --password-file FILE, or "
         "--i-know-it-is-open."]
    )  # fmt: skip


def read_users(path: Path) -> list[tuple[str, str]]:
    """Read `name:password` lines.

    Raises:
        ConfigError: there are none, or one is of another form.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"--password-file {path}: cannot be read as text ({error})."]) from error
    users = [(name, password) for name, _, password in (line.partition(":") for line in lines) if name and password]
    if not users or len(users) < len(lines):
        raise ConfigError([f"--password-file {path}: write a line name:password for everybody who may come in."])
    return users


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take the port before anything is loaded. Raises ConfigError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError([f"--host {host}: there is no such address ({error.strerror})."]) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why = "is taken, perhaps by another evqa serve; end that, or name another port"
            else:
                why = f"cannot be opened ({error.strerror})"
            raise ConfigError([f"--port {port}: {why}."]) from error
        yield listener


@contextmanager
def _own_files() -> Iterator[str]:
    """A folder that nobody else may enter, for uploads; Gradio reads its place, and that it shall report nothing."""
    with tempfile.TemporaryDirectory(prefix="evqa-page-") as folder:
        os.environ.update(
            GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1"
        )
        yield folder


def _clean(visitors: Visitors, files: Path) -> None:
    pause = threading.Event()
    while not pause.wait(CLEANING_SECONDS):
        visitors.clean()
        delete_given_up(files)


def _run(app: Any, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, both of which leave through the blocks that delete files."""
    import uvicorn

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3))
    # what is broken off at the end is no error
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    try:
        server.run(sockets=[listener])
    except (KeyboardInterrupt, SystemExit) as stop:
        _leave_soon(130 if isinstance(stop, KeyboardInterrupt) else stop.code)
        raise


def _leave_soon(code: Any) -> None:
    """End the process in some seconds: Python would wait for a thread that still scores, however long that takes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again
    timer = threading.Timer(LEAVING_SECONDS, os._exit, [code])
    timer.daemon = True
    timer.start()


def check_installed() -> None:
    """Raise MissingDependencyError where the page's packages are not there."""
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise MissingDependencyError("evqa serve needs gradio: pip install 'evqa[web]'")
