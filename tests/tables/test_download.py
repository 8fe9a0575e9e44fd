"""Downloads from a real HTTPS server on this machine."""

import errno
import hashlib
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from server import serving

from netwright import files
from netwright.tables.download import BLOCK, download

CONTENT = random.Random(0).randbytes(3 * BLOCK + 1234)
SHA = hashlib.sha256(CONTENT).hexdigest()
HALF = BLOCK + 77


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    folder = tmp_path / "server"
    folder.mkdir()
    with serving(folder) as served:
        served[2].content = CONTENT
        yield served


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    """Download the server's file to the empty current folder."""
    url, certificate, _ = server
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(path="/some/nasbench.tfrecord?x=1", *, sha256=SHA, ca_file=certificate, **options):
        return download(url + path, sha256=sha256, ca_file=ca_file, **options)

    return call


def left():
    """Names of the files in the current folder."""
    return sorted(os.listdir())


def cut_half_way(get, does):
    does.cut_after = HALF
    with pytest.raises(ConnectionError, match=r"was cut after .* of .* MB: the same command res"):
        get()
    assert "nasbench.tfrecord" not in left()
    does.cut_after = None
    does.requests.clear()


def test_whole(get):
    told = []
    path = get(progress=lambda *news: told.append(news))
    assert path.read_bytes() == CONTENT
    assert left() == ["nasbench.tfrecord"]
    assert told[0] == (0, 0.0)
    assert told[-1] == (len(CONTENT), 1.0)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_out_names_the_file(get, tmp_path):
    get("/", out=tmp_path / "here" / "other")
    assert left() == ["other"]


def test_what_is_there_is_verified_not_downloaded(get, server):
    get()
    server[2].requests.clear()
    get()
    assert not server[2].requests
    with open("nasbench.tfrecord", "ab") as file:
        file.write(b"!")
    with pytest.raises(ValueError, match=r"nasbench.tfrecord has the SHA-256 .* move it away"):
        get()
    assert os.path.getsize("nasbench.tfrecord") == len(CONTENT) + 1


@pytest.mark.parametrize(
    "validator",
    [
        {"etag": '"v1"'},
        {"etag": 'W/"weak"', "modified": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"etag": None, "modified": None},
    ],
)
def test_resumes_after_a_cut(get, server, validator):
    does = server[2]
    for name, value in validator.items():
        setattr(does, name, value)
    cut_half_way(get, does)
    told = []
    assert get(progress=lambda *news: told.append(news)).read_bytes() == CONTENT
    (request,) = does.requests
    start = os.path.getsize("nasbench.tfrecord") - (len(CONTENT) - told[0][0])
    assert request["Range"] == f"bytes={start}-"
    assert 0 < start <= HALF
    wanted = validator.get("modified") or validator["etag"]
    assert request.get("If-Range") == wanted
    assert left() == ["nasbench.tfrecord"]


def test_many_cuts(get, server):
    does = server[2]
    does.cut_after = BLOCK // 2
    cuts = 0
    while True:
        try:
            get()
            break
        except ConnectionError:
            cuts += 1
            assert cuts < 20
    assert cuts == len(CONTENT) // (BLOCK // 2)


def test_starts_over_where_the_server_ignores_ranges(get, server):
    does = server[2]
    cut_half_way(get, does)
    does.ranges = False
    assert get().read_bytes() == CONTENT
    assert len(does.requests) == 1


def test_starts_over_where_the_file_has_changed(get, server):
    does = server[2]
    cut_half_way(get, does)
    does.content, does.etag = CONTENT[::-1], '"v2"'
    with pytest.raises(ValueError, match="has the SHA-256"):
        get()  # all of the new file, which is not the one that was asked for
    assert "Range" in does.requests[0]
    does.content = CONTENT
    assert get().read_bytes() == CONTENT


def test_another_version_midway_is_not_mixed(get, server):
    """The checksum is the new file's: bytes of the old one must not come before it."""
    does = server[2]
    new = CONTENT[::-1]
    does.cut_after = HALF
    with pytest.raises(ConnectionError):
        get(sha256=hashlib.sha256(new).hexdigest())
    does.content, does.etag, does.cut_after = new, '"v2"', None
    assert get(sha256=hashlib.sha256(new).hexdigest()).read_bytes() == new


def test_starts_over_for_another_checksum(get, server):
    does = server[2]
    cut_half_way(get, does)
    new = CONTENT[::-1]
    does.content = new
    assert get(sha256=hashlib.sha256(new).hexdigest()).read_bytes() == new
    assert "Range" not in does.requests[0]


def test_starts_over_where_the_range_is_another(get, server):
    does = server[2]
    cut_half_way(get, does)
    does.shift = 5
    assert get().read_bytes() == CONTENT
    assert ["Range" in request for request in does.requests] == [True, False]


def test_everything_was_there_but_the_name(get, server):
    """Killed between the last byte and the end."""
    does = server[2]
    cut_half_way(get, does)
    with open("nasbench.tfrecord.partial", "wb") as file:
        file.write(CONTENT)
    assert get().read_bytes() == CONTENT
    assert len(does.requests) == 1


def test_more_was_there_than_there_is(get, server):
    does = server[2]
    cut_half_way(get, does)
    with open("nasbench.tfrecord.partial", "wb") as file:
        file.write(CONTENT + b"!")
    assert get().read_bytes() == CONTENT


def test_damaged_notes_start_over(get, server):
    does = server[2]
    cut_half_way(get, does)
    with open("nasbench.tfrecord.partial.json", "w") as file:
        file.write('{"url": ')
    assert get().read_bytes() == CONTENT
    assert "Range" not in does.requests[0]


def test_a_wrong_checksum_keeps_nothing(get):
    with pytest.raises(ValueError, match=rf"has the SHA-256 {SHA}, not 0{{64}}: nothing of it"):
        get(sha256="0" * 64)
    assert [name for name in left() if not name.endswith(".lock")] == []


def test_a_resumed_part_counts_for_the_checksum(get, server):
    cut_half_way(get, server[2])
    with open("nasbench.tfrecord.partial", "r+b") as file:
        file.write(b"other")
    with pytest.raises(ValueError, match="has the SHA-256"):
        get()


def test_unknown_length(get, server):
    server[2].length = False
    told = []
    assert get(progress=lambda *news: told.append(news)).read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), 0.0)


def test_redirect(get, server):
    server[2].redirect = server[0] + "/moved"
    assert get().read_bytes() == CONTENT
    assert left() == ["nasbench.tfrecord"]


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/x", "ftp://127.0.0.1/x", "file:///etc"])
def test_a_redirect_that_leaves_https_is_refused(get, server, target):
    server[2].redirect = target
    with pytest.raises(ValueError, match=r"leads .* https: refused"):
        get()
    assert "nasbench.tfrecord" not in left()


@pytest.mark.parametrize(
    ("status", "kind", "match"),
    [
        (404, FileNotFoundError, r"the server has no such file \(404 Not Found\)"),
        (503, ConnectionError, "the server answered 503 Service Unavailable"),
        (416, ConnectionError, "the server answered 416"),
    ],
)
def test_refused(get, server, status, kind, match):
    server[2].status = status
    with pytest.raises(kind, match=match):
        get()


def test_an_unknown_authority_is_not_trusted(get):
    with pytest.raises(ConnectionError, match=r"cannot be trusted .*--ca-file FILE or SSL_CERT_"):
        get(ca_file=None)


def test_another_host_than_the_certificate_names(server, tmp_path):
    url = server[0].replace("127.0.0.1", "localhost")
    with pytest.raises(ConnectionError, match="localhost cannot be trusted"):
        download(f"{url}/x", tmp_path / "x", sha256=SHA, ca_file=server[1])


def test_the_environment_names_certificates(get, server, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(server[1]))
    assert get(ca_file=None).read_bytes() == CONTENT


def test_nobody_listens(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectionError, match=r"127.0.0.1 cannot be reached .*same command"):
        download(f"https://127.0.0.1:{port}/x", tmp_path / "x", sha256=SHA)


@pytest.mark.parametrize(
    ("url", "options", "match"),
    [
        ("http://host/x", {}, "no https URL"),
        ("file:///x", {}, "no https URL"),
        ("https:///x", {}, "no https URL"),
        ("https://host:port/x", {}, "no https URL"),
        ("https://host/", {}, "write --out FILE"),
        ("https://host/a/..%2f.bashrc", {}, "write --out FILE"),
        ("https://host/x", {"sha256": "abc"}, "'abc' is no SHA-256"),
        ("https://host/x", {"ca_file": __file__}, "holds no certificates"),
    ],
)
def test_wrong_usage(url, options, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=match):
        download(url, **{"sha256": SHA} | options)


def test_no_place(tmp_path):
    for out in (tmp_path, tmp_path / "none" / "x"):
        with pytest.raises(FileNotFoundError, match="is no place for a file"):
            download("https://host/x", out, sha256=SHA)
    with pytest.raises(FileNotFoundError, match="no file of certificates"):
        download("https://host/x", tmp_path / "x", sha256=SHA, ca_file=tmp_path / "none")


def test_too_little_space_is_said_before(get, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"0.8 MB are to come, 1,000 bytes are free") as caught:
        get()
    assert caught.value.errno == errno.ENOSPC


LIMITED = """
import resource, signal, sys
from netwright.tables.download import download
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    download(sys.argv[1], "big", sha256=sys.argv[2], ca_file=sys.argv[3])
except OSError as error:
    sys.exit(str(error))
"""


def test_a_disk_that_is_full_midway(get, server):
    """A real failed write (the process may write files of so many bytes only), then the rest."""
    url, certificate, does = server
    command = [sys.executable, "-c", LIMITED, f"{url}/x", SHA, str(certificate), str(HALF)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "big.partial cannot be written" in done.stderr
    assert "the same command resumes" in done.stderr
    assert "big" not in left()
    does.requests.clear()
    assert get("/x", out="big").read_bytes() == CONTENT
    assert does.requests[0]["Range"] == f"bytes={HALF}-"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_two_at_once(get, server):
    with (
        files.locked(Path("nasbench.tfrecord.partial.lock")),
        pytest.raises(BlockingIOError, match="another process"),
    ):
        get()
    assert not server[2].requests
