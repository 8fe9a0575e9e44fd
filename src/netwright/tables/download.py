"""Download of a large file: verified, resumable, over HTTPS only.

While a download runs, its bytes are in ``NAME.partial`` and what they belong to in
``NAME.partial.json``; the file gets its name only after its SHA-256 was found right. If the
connection is cut, or the program, the next attempt asks for the rest (``Range``) on the condition
that the server's file is still the same (``If-Range`` with its ETag or date); a server that does
not know ranges, or whose file has changed, sends it all, and the download starts over.
"""

import errno
import hashlib
import http
import http.client
import json
import os
import re
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from netwright import __version__, files
from netwright.tables.reading import Progress, no_progress

#: Bytes read at a time.
BLOCK: Final = 1 << 18

#: Seconds without a byte after which a connection counts as cut.
TIMEOUT: Final = 60.0

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def download(
    url: str,
    out: Path | str | None = None,
    *,
    sha256: str,
    ca_file: Path | str | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Download a file unless it is there already, and verify it.

    Args:
        url: Where it is; redirects are followed, to ``https`` only.
        out: What to call it; the last part of the URL's path if None.
        sha256: The checksum it must have, 64 hexadecimal digits.
        ca_file: Certificates (PEM) to trust instead of the system's. The environment variable
            SSL_CERT_FILE, too, names such a file.
        progress: Told the number of bytes so far, those of earlier attempts included, and their
            share of the whole (0 if the server does not say how large it is).

    Returns:
        The file.

    Raises:
        ValueError: If the URL or checksum is none, a redirect leaves https, or the file, downloaded
            or already there, has another checksum; a download with a wrong one is deleted.
        FileNotFoundError: If the server has no such file, or there is no such folder or file of
            certificates.
        ConnectionError: If the server cannot be reached or trusted, or the connection was cut;
            the same call resumes.
        OSError: If the disk is full or read-only; the same call resumes.
    """
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is no SHA-256: it has 64 hexadecimal digits")
    _insist_https(url)
    target = Path(out if out is not None else _name(url))
    if target.is_dir() or not target.parent.is_dir():
        raise FileNotFoundError(
            f"{target} is no place for a file: name one in a folder that exists"
        )
    context = _context(ca_file)
    if target.exists():
        _insist_digest(target, _digest(target), sha256, "move it away, or choose another --out")
        return target
    part = _Part(target, url, sha256.lower())
    with files.locked(part.lock):
        digest = _fetch(url, part, context, progress)
        try:
            _insist_digest(target, digest, sha256, "nothing of it was kept")
        except ValueError:
            part.remove()
            raise
        part.finish()
    return target


@dataclass(frozen=True)
class _Part:
    """What was downloaded of a file so far, and what it belongs to."""

    target: Path
    url: str
    sha256: str

    @property
    def data(self) -> Path:
        return self.target.with_name(self.target.name + ".partial")

    @property
    def about(self) -> Path:
        return self.target.with_name(self.target.name + ".partial.json")

    @property
    def lock(self) -> Path:
        return self.target.with_name(self.target.name + ".partial.lock")

    def resumable(self) -> tuple[int, str]:
        """Return how many bytes there are of this very file, and what tells its version."""
        try:
            about = json.loads(self.about.read_bytes())
            if (about["url"], about["sha256"]) != (self.url, self.sha256):
                return 0, ""
            return self.data.stat().st_size, str(about["version"])
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return 0, ""

    def begin(self, version: str) -> None:
        """Forget what there is, and note the version of the file that begins now."""
        self.remove()
        about = {"url": self.url, "sha256": self.sha256, "version": version}
        files.write_atomic(self.about, json.dumps(about))
        self.data.touch()

    def append(self, block: bytes) -> None:
        """Add bytes; they are in the file when this returns."""
        try:
            with self.data.open("ab", buffering=0) as file:
                written = file.write(block)
            if written < len(block):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OSError(
                f"{self.data} cannot be written ({error.strerror}): once it can, the same command "
                "resumes"
            ) from error

    def remove(self) -> None:
        for path in (self.data, self.about):
            path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the file its name."""
        with self.data.open("rb+") as file:
            os.fsync(file.fileno())
        self.data.replace(self.target)
        for path in (self.about, self.lock):
            path.unlink(missing_ok=True)


def _fetch(url: str, part: _Part, context: ssl.SSLContext, progress: Progress) -> str:
    """Download what is missing and return the digest of the whole."""
    have, version = part.resumable()
    response = _ask(url, context, have, version)
    if response is None:
        return _digest(part.data)
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            part.begin(_version(response.headers))
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        free = shutil.disk_usage(part.data.parent).free
        if total is not None and total - have > free:
            raise OSError(
                errno.ENOSPC, f"{_size(total - have)} are to come, {_size(free)} are free"
            )
        digest = hashlib.sha256()
        with part.data.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        for block in _blocks(response, have, total, progress):
            part.append(block)
            digest.update(block)
    return digest.hexdigest()


def _blocks(response: Any, have: int, total: int | None, progress: Progress) -> Iterator[bytes]:
    while True:
        progress(have, have / total if total else 0.0)
        try:
            block = response.read(BLOCK)
        except (http.client.HTTPException, OSError) as error:
            raise _cut(have, total) from error
        if not block:
            break
        have += len(block)
        yield block
    if total is not None and have < total:  # http.client says nothing of it
        raise _cut(have, total)


def _cut(have: int, total: int | None) -> ConnectionError:
    of = f" of {_size(total)}" if total else ""
    return ConnectionError(
        f"the connection was cut after {_size(have)}{of}: the same command resumes"
    )


def _ask(url: str, context: ssl.SSLContext, have: int, version: str) -> Any:
    """Ask for the file, from byte ``have`` on; return the response, or None if that is its end.

    The server sends the rest (206) only if the file is still of that version, else all (200).
    """
    if not have:
        return _send(url, context, {})
    condition = {"If-Range": version} if version else {}
    response = _send(url, context, {"Range": f"bytes={have}-"} | condition)
    place = response.headers.get("Content-Range", "")
    match response.status:
        case http.HTTPStatus.PARTIAL_CONTENT if not place.startswith(f"bytes {have}-"):
            again = True
        case http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            again = place != f"bytes */{have}"
        case _:
            return response
    response.close()
    return _send(url, context, {}) if again else None


def _send(url: str, context: ssl.SSLContext, headers: dict[str, str]) -> Any:
    """Return the response, of status 200, 206 or 416."""
    headers = headers | {"User-Agent": f"netwright/{__version__}", "Accept-Encoding": "identity"}
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), _HTTPSRedirects()
    )
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
            return error
        with error:
            if error.code // 100 == 3:  # urllib itself refuses file:
                raise ValueError(f"{url} leads elsewhere than https: refused") from error
            raise _refused(url, error.code, error.reason) from error
    except (http.client.HTTPException, OSError) as error:
        raise _unreachable(url, error) from error


class _HTTPSRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: Any,
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise ValueError(f"{req.full_url} leads to {newurl}, which is not https: refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _version(headers: Message) -> str:
    """What an If-Range may hold: the ETag if it is a strong one, or the date."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _refused(url: str, code: int, reason: str) -> OSError:
    if code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        return FileNotFoundError(f"{url}: the server has no such file ({code} {reason})")
    return ConnectionError(f"{url}: the server answered {code} {reason}; try again later")


def _unreachable(url: str, error: Exception) -> ConnectionError:
    reason = getattr(error, "reason", error)
    host = urlsplit(url).hostname
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ConnectionError(
            f"{host} cannot be trusted ({reason.verify_message}): if it should be, name its "
            "authority's certificate with --ca-file FILE or SSL_CERT_FILE"
        )
    return ConnectionError(f"{host} cannot be reached ({reason}); the same command tries again")


def _context(ca_file: Path | str | None) -> ssl.SSLContext:
    if ca_file is not None and not Path(ca_file).is_file():
        raise FileNotFoundError(f"there is no file of certificates {ca_file}")
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ValueError(f"{ca_file} holds no certificates (PEM): {error.reason}") from error


def _insist_https(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise ValueError(f"{url!r} is no https URL: write https://HOST/PATH")


def _name(url: str) -> str:
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name.startswith(".") or "\\" in name or "\0" in name:
        raise ValueError(f"{url} does not say what to call the file: write --out FILE")
    return name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _insist_digest(path: Path, found: str, wanted: str, remedy: str) -> None:
    if found != wanted.lower():
        raise ValueError(f"{path} has the SHA-256 {found}, not {wanted.lower()}: {remedy}")


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"
