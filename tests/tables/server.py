"""A real HTTPS server on this machine, told how to behave."""

import http.server
import re
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import trustme


@dataclass
class Behaviour:
    """What the server does; tests change it between requests."""

    content: bytes = b""
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    cut_after: int | None = None  # bytes of a body, then the connection ends
    length: bool = True
    redirect: str | None = None
    status: int | None = None
    shift: int = 0  # a range that begins elsewhere than asked
    requests: list[dict[str, str]] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        does = self.server.behaviour
        does.requests.append(dict(self.headers) | {"path": self.path})
        self.close_connection = True
        if does.redirect is not None and self.path != "/moved":
            return self._head(302, {"Location": does.redirect, "Content-Length": "0"})
        if does.status is not None:
            return self._head(does.status, {"Content-Length": "0"})
        body, status, headers = does.content, 200, {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if does.ranges and asked and condition in (None, does.etag, does.modified):
            start = int(asked[1]) + does.shift
            if start >= len(body):
                where = {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"}
                return self._head(416, where)
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body = body[start:]
        if does.length:
            headers["Content-Length"] = str(len(body))
        headers |= {"ETag": does.etag} if does.etag else {}
        headers |= {"Last-Modified": does.modified} if does.modified else {}
        self._head(status, headers)
        self.wfile.write(body[: does.cut_after])
        return None

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that hang up are what is tested."""


@contextmanager
def serving(folder):
    """Run a server; yield its URL, its authority's certificate and its behaviour."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    certificate = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(certificate))
    server = _Server(("127.0.0.1", 0), _Handler)
    server.behaviour = Behaviour()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}", certificate, server.behaviour
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
