"""What stands before the page: who may ask, how much may be sent, and whose files are whose.

Written against ASGI alone, so that it holds for every route that Gradio has, also for those of later versions.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlsplit

from evqa.web.visitors import Visitors

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "evqa_visitor"
MAX_CALL_BYTES = 1_000_000  # of a call without its files
HEADERS = {
    # Gradio's page holds scripts and styles of its own; nothing may come from, or go to, another host.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
# All that the page asks for, and programs need. Gradio has more routes, some of which fetch from other hosts or give
# files out in other ways; there are none of them here, nor any that a later version adds.
ROUTES = re.compile(
    r"(/gradio_api)?(/|/(health|config|info|login|logout|login_check|user|token|app_id|startup-events|queue/data|"
    r"queue/join|upload|upload_progress|cancel|reset|openapi.json|theme.css|favicon.ico|manifest.json|robots.txt)/?|"
    r"/(assets|static|svelte|call|run|heartbeat|runs/media)/.+|/file=.+)"
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RefusedError(Exception):
    """A request that is not served. status: of HTTP."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Guard:
    """An ASGI application around another.

    hosts: names under which the page may be asked for; None: any. max_upload_bytes, max_upload_seconds: of one upload.
    """

    def __init__(
        self,
        app: App,
        *,
        visitors: Visitors,
        hosts: tuple[str, ...] | None,
        max_upload_bytes: int,
        max_upload_seconds: float,
    ) -> None:
        self._app, self._visitors, self._hosts = app, visitors, hosts
        self._max_upload_bytes, self._max_upload_seconds = max_upload_bytes, max_upload_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or say why not."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check_origin(headers)
            name, is_new = self._visitor(scope, headers)
            sending = _with_headers(send, cookie=name if is_new else None)
            await self._serve(scope, receive, sending, headers=headers, name=name)
        except RefusedError as refused:
            await _answer(send, refused)

    def _visitor(self, scope: Scope, headers: dict[str, str]) -> tuple[str, bool]:
        """Return who asks, and whether that is a new visitor of the page; programs without cookie go by their address.

        The place of an upload holds the digest of its bytes, so that programs of one address find only files that they
        have themselves.
        """
        name = _cookie(headers)
        if name is not None and self._visitors.is_known(name):
            return self._visitors.hear_of(name), False
        if scope["path"] == "/":
            return self._visitors.new_name(), True
        return self._visitors.hear_of(f"address {(scope.get('client') or ('unknown',))[0]}"), False

    def _check_origin(self, headers: dict[str, str]) -> None:
        """Refuse names that are not ours (DNS rebinding), and requests that another page has made."""
        host = headers.get("host", "")
        if self._hosts is not None and (urlsplit(f"//{host}").hostname or "") not in self._hosts:
            raise RefusedError(403, f"This page is not served under the name {host!r}.")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise RefusedError(403, "Requests from pages of another origin are not served.")

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, headers: dict[str, str], name: str) -> None:
        path = unquote(scope["path"])
        if not ROUTES.fullmatch(path):
            raise RefusedError(404, "There is nothing at this place.")
        if "/file=" in path:
            self._check_file(path.partition("/file=")[2], name)
        elif "/heartbeat/" in path:
            with self._visitors.open_tab(name):
                await self._app(scope, receive, send)
            return
        elif scope["method"] == "POST" and path.rstrip("/").endswith("/upload"):
            await self._upload(scope, receive, send, headers=headers, name=name)
            return
        elif scope["method"] == "POST":
            receive = await self._checked_call(receive, name)
        await self._app(scope, receive, send)

    def _check_file(self, path: str, name: str) -> None:
        if not self._visitors.owns(name, path):
            raise RefusedError(403, "This file is not yours.")

    async def _upload(self, scope: Scope, receive: Receive, send: Send, *, headers: dict[str, str], name: str) -> None:
        """Let an upload through that is small enough, and enter its files under the visitor's name."""
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > self._max_upload_bytes + MAX_CALL_BYTES:
            raise RefusedError(413, f"A file may have {self._max_upload_bytes / 1e6:g} MB at most.")
        answer = bytearray()

        async def noting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                answer.extend(message.get("body", b""))
                if not message.get("more_body"):
                    self._visitors.add_files(name, _paths_of(bytes(answer)))
            await send(message)

        try:
            async with asyncio.timeout(self._max_upload_seconds):
                await self._app(scope, receive, noting)
        except TimeoutError:
            raise RefusedError(408, f"An upload may take {self._max_upload_seconds:g} s at most.") from None

    async def _checked_call(self, receive: Receive, name: str) -> Receive:
        """Read a call, refuse one that names files which the visitor has not uploaded, and hand it on."""
        body = bytearray()
        while True:
            message = await receive()
            body.extend(message.get("body", b""))
            if len(body) > MAX_CALL_BYTES:
                raise RefusedError(413, "A call may have 1 MB at most; files are uploaded first.")
            if not message.get("more_body"):
                break
        for path in _named_files(bytes(body)):
            if not self._visitors.owns(name, path):
                raise RefusedError(403, "A call named a file that its visitor has not uploaded. Upload it first.")
        told = False

        async def again() -> MutableMapping[str, Any]:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return again


def _cookie(headers: dict[str, str]) -> str | None:
    found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    return None if found is None else found.value


def _with_headers(send: Send, *, cookie: str | None) -> Send:
    more = {} if cookie is None else {"set-cookie": f"{COOKIE}={cookie}; HttpOnly; SameSite=Strict; Path=/"}

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = HEADERS | more
            kept = [pair for pair in message["headers"] if pair[0].decode("latin-1").lower() not in HEADERS]
            added = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in own.items()]
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return sending


async def _answer(send: Send, refused: RefusedError) -> None:
    body = json.dumps({"error": refused.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _paths_of(answer: bytes) -> list[str]:
    try:
        paths = json.loads(answer)
    except ValueError:
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


def _named_files(body: bytes) -> Iterator[str]:
    """Find every place of a file in a call: each `path`, at any depth."""
    try:
        content = json.loads(body or b"null")
    except ValueError:
        return
    stack = [content]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(path := value.get("path"), str):
                yield path
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
