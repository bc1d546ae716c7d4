"""A web server on loopback with pages as they are, and as they should not be."""

import gzip
import ssl
import subprocess
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

Page = tuple[str, bytes]  # what it is said to be, and itself


@cache
def bomb() -> bytes:
    """Return what unpacks to 200 MB."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    return b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(200)) + packer.flush()


@dataclass
class PageServer:
    """Gives out `pages` by path.

    `/status-N` answers so · `/moved-N` redirects N times, `/round` for ever, `/to?URL` there · `/big` says that it is
    large, `/endless` does not say it · `/slow` sends a byte at a time · `/silent` answers nothing · `/gzip` and
    `/deflate` are a compressed page, `/members` one in several parts, `/half` of one, `/litter` has more behind it,
    `/bomb` unpacks to 200 MB, `/br` and `/torn` are what cannot be unpacked · `/cut` ends too early.
    """

    pages: dict[str, Page] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)  # of each request
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._server = _Server(self)
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self._server.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pages: PageServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages = pages


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def do_GET(self) -> None:
        self.server.pages.headers.append(dict(self.headers))
        path, _, query = self.path.partition("?")
        name, _, number = path[1:].partition("-")
        if path in self.server.pages.pages:
            kind, data = self.server.pages.pages[path]
            self._send(200, data, {"Content-Type": kind} if kind else {})
        elif name == "status":
            self._send(int(number), b"no", {})
        elif name == "moved":
            self._send(302, b"", {"Location": f"/moved-{int(number) - 1}" if int(number) > 1 else "/page"})
        elif name == "to":
            self._send(302, b"", {"Location": query})
        else:
            getattr(self, f"_{name}")()

    def _send(self, status: int, data: bytes, headers: dict[str, str], *, length: int | None = None) -> None:
        self.send_response(status)
        for each, value in headers.items():
            self.send_header(each, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def _page(self) -> None:
        self._send(200, b"a page", {"Content-Type": "text/plain"})

    def _round(self) -> None:
        self._send(302, b"", {"Location": "/round"})

    def _big(self) -> None:
        self._send(200, b"a", {"Content-Type": "text/plain"}, length=34_000_000)

    def _cut(self) -> None:
        self._send(200, b"half", {"Content-Type": "text/plain"}, length=8)

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()

    def _endless(self) -> None:
        self._begin()
        while not self.server.pages.stopped.is_set():
            self.wfile.write(b"a" * 65536)

    def _slow(self) -> None:
        self._begin()
        while not self.server.pages.stopped.wait(0.02):
            self.wfile.write(b"a")

    def _silent(self) -> None:
        self.server.pages.stopped.wait(5)

    def _gzip(self) -> None:
        self._send(200, gzip.compress(b"a page"), {"Content-Type": "text/plain", "Content-Encoding": "gzip"})

    def _members(self) -> None:
        data = gzip.compress(b"a ") + gzip.compress(b"") + gzip.compress(b"page") + bytes(10)
        self._send(200, data, {"Content-Type": "text/plain", "Content-Encoding": "gzip"})

    def _half(self) -> None:
        data = gzip.compress(b"a page")[:-3]
        self._send(200, data, {"Content-Type": "text/plain", "Content-Encoding": "gzip"})

    def _litter(self) -> None:
        data = gzip.compress(b"a page") + b"and more"
        self._send(200, data, {"Content-Type": "text/plain", "Content-Encoding": "gzip"})

    def _deflate(self) -> None:
        self._send(200, zlib.compress(b"a page"), {"Content-Type": "text/plain", "Content-Encoding": "deflate"})

    def _bomb(self) -> None:
        self._send(200, bomb(), {"Content-Type": "text/plain", "Content-Encoding": "gzip"})

    def _br(self) -> None:
        self._send(200, b"?", {"Content-Type": "text/plain", "Content-Encoding": "br"})

    def _torn(self) -> None:
        self._send(200, b"no gzip", {"Content-Type": "text/plain", "Content-Encoding": "gzip"})


def certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a certificate for a name, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
    extension = ["-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *extension], check=True, capture_output=True)
    return certificate, key
