"""A web server on this machine that answers with a few files and nothing else."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from pipeline.harness.errors import RunError

ADDRESS = "127.0.0.1"
NAMES = {ADDRESS, "localhost"}
"""Hosts in requests of the page itself; another name is that of a page that pretends to be it."""
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".pb": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
"""Media type by the end of a path."""
POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",  # without the second, no WebAssembly
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{kind} {source}" for kind, source in POLICY.items()),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a model may be exported again
}
"""Headers of every answer: a page may load what is here, and send nothing elsewhere."""

Files = Mapping[str, Path | bytes]
"""Path of a URL, such as `/demo.js` -> the file, or what is in it."""


class Server(ThreadingHTTPServer):
    """The server; bound as soon as it is made, it answers in `serve_forever`."""

    daemon_threads = True

    def __init__(self, files: Files, port: int) -> None:
        """port: 0 for any that is free.

        Raises:
            RunError: the port cannot be had.
        """
        self.files = files
        try:
            super().__init__((ADDRESS, port), Answer)
        except OSError as error:
            raise RunError(
                f"{ADDRESS}:{port}: {error.strerror}; choose another port,"
                " or leave --port out for a free one"
            ) from None

    def server_bind(self) -> None:
        """Bind without a look-up of the machine's name, which takes seconds without a network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; any other error is a bug of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Answer(BaseHTTPRequestHandler):
    """The answer to one request: a file of the server's, or an error."""

    server: Server
    server_version = "aso-se"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a file; a path is looked up as it is, so none leads out of the list."""
        if (self.headers["Host"] or "").partition(":")[0] not in NAMES:
            return self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        path = self.path.partition("?")[0]
        content = self.server.files.get(path)
        if isinstance(content, Path):
            with suppress(OSError):
                content = content.read_bytes()
        if not isinstance(content, bytes):
            return self.send_error(HTTPStatus.NOT_FOUND)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[Path(path).suffix or ".html"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    def end_headers(self) -> None:
        """Add the headers of every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing of requests."""
