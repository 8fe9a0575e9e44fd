"""`netwright table`: official files and downloads, as a user types them."""

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "tables"))  # what writes the official formats
import official
from server import serving


@pytest.fixture
def tfrecord(tmp_path):
    path = tmp_path / "nasbench_only108.tfrecord"
    records = [
        official.record(f"{i:032x}", 108, text, official.metrics(size, [(0.5, 0.6, 0.7, 9.0)] * 3))
        for i, (text, size) in enumerate(official.CELLS.items())
        for _ in range(3)
    ]
    path.write_bytes(b"".join(map(official.frame, records)))
    return path


@pytest.fixture
def infos():
    return {i: official.cell_info(i) for i in range(len(official.STRINGS))}


def test_nasbench101_is_recognised(run, tfrecord):
    code, out, err = run("table", "import", tfrecord.name, "--json")
    assert code == 0, err
    info = json.loads(out)
    assert (info["space"], info["rows"], info["licence"]) == ("nasbench101", 3, "Apache-2.0")
    assert info["source"] == tfrecord.name
    assert info["measured"]["cifar10/valid@108"] == 3
    assert "cifar10/valid-run1@108" not in info["metrics"]
    assert info["seconds"] > 0
    assert info["rows_per_second"] == pytest.approx(3 / info["seconds"])
    text = next(iter(official.CELLS))
    _, out, _ = run("table", "query", "nasbench_only108.safetensors", text, "--json")
    assert json.loads(out)[0]["cifar10/test@108"] == pytest.approx(0.7)


def test_all_runs(run, tfrecord):
    _, out, _ = run("table", "import", tfrecord.name, "--all-runs", "--json")
    assert "cifar10/test-half-run3@108" in json.loads(out)["metrics"]


@pytest.mark.parametrize("form", ["folder", "file", "pth", "zipped pth"])
def test_natsbench_is_recognised(run, tmp_path, infos, form):
    name = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    match form:
        case "folder":
            official.natsbench_folder(name, infos)
        case "file":
            official.natsbench_file(name := name.with_suffix(".pickle.pbz2"), infos)
        case _:
            name = name.with_suffix(".pth")
            official.nasbench201_file(name, infos, zipped=form == "zipped pth")
    code, out, err = run("table", "import", name, "--at-epoch", 3, "--json", "-o", "t.safetensors")
    assert code == 0, err
    info = json.loads(out)
    assert (info["space"], info["rows"], info["licence"]) == ("nasbench201", 3, "MIT")
    assert {"cifar100/test@200", "cifar10-valid/valid-of12@3"} <= set(info["metrics"])


def test_what_people_see(run, tmp_path, infos):
    official.natsbench_folder(tmp_path / "nats", infos)
    code, out, err = run("table", "import", "nats")
    assert code == 0, err
    assert "wrote nats.safetensors: 3 architectures of nasbench201" in out
    assert "rows/s" in out
    best = ("--best", "cifar10-valid/valid@12", "-n", "3", "--json")
    rows = json.loads(run("table", "query", "nats.safetensors", *best)[1])
    assert [row["arch"] for row in rows] == official.STRINGS[::-1]  # by how the values were made


def test_csv_needs_a_space_and_official_files_have_one(run, tmp_path, tfrecord):
    (tmp_path / "t.csv").write_text("arch,acc\n")
    for arguments, problem in (
        (["t.csv"], "t.csv is a CSV file: say of which --space"),
        (["t.csv", "-s", "toy", "--all-runs"], "--all-runs is for official files"),
        (["t.csv", "-s", "toy", "--at-epoch", "3"], "--at-epoch is for NATS-Bench"),
        ([tfrecord.name, "-s", "toy"], "is a file of nasbench101, not of toy"),
        ([tfrecord.name, "--set", "max_nodes=5"], "--set is for CSV files"),
        ([tfrecord.name, "--column", "a=b"], "--column is for CSV files"),
    ):
        code, _, err = run("table", "import", *arguments)
        assert code == 2
        assert problem in err
        assert err.count("\n") == 1
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_format_can_be_said(run, tfrecord):
    code, _, err = run("table", "import", tfrecord.name, "--format", "csv", "-s", "nasbench101")
    assert code == 2
    assert "damaged" in err or "needs a column" in err
    code, _, err = run("table", "import", "none.csv", "--space", "toy")
    assert code == 1
    assert "none.csv" in err


@pytest.mark.parametrize("place", [5, 30, -1])
def test_damage_is_one_line(run, tfrecord, place):
    raw = bytearray(tfrecord.read_bytes())
    raw[place] ^= 1
    tfrecord.write_bytes(raw)
    code, out, err = run("table", "import", tfrecord.name, "--format", "nasbench101")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "was altered (its checksum differs): download the file again" in err
    assert not list(tfrecord.parent.glob("*.safetensors"))


def test_a_hostile_file_is_one_line(run, tmp_path, infos):
    class Attack:
        def __reduce__(self):
            return exec, ("open('owned', 'w')",)

    official.natsbench_folder(tmp_path / "nats", infos)
    official.pickle_save(Attack(), tmp_path / "nats" / "meta.pickle")
    code, _, err = run("table", "import", "nats")
    assert code == 2
    assert "nats/meta.pickle.pbz2: it names builtins.exec, which no benchmark file needs" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "owned").exists()


def test_progress_for_people(run, monkeypatch, tfrecord):
    monkeypatch.setattr("netwright.cli.reading.LOG_EVERY", 0.0)
    monkeypatch.setattr("netwright.tables.nasbench101.REPORT", 2)
    _, _, err = run("table", "import", tfrecord.name)
    first, *_, last = err.splitlines()
    assert re.fullmatch(r"2\d %  2 records", first)
    assert last.startswith("100 %  9 records  ")
    assert last.endswith("records/s  0:00 left")
    _, _, err = run("table", "import", tfrecord.name, "--quiet")
    assert not err


class TestDownload:
    @pytest.fixture
    def server(self, tmp_path, monkeypatch):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        folder = tmp_path / "server"
        folder.mkdir()
        with serving(folder) as served:
            yield served

    def test_download_cut_resumed_and_imported(self, run, server, tfrecord):
        url, certificate, does = server
        does.content = tfrecord.read_bytes()
        digest = hashlib.sha256(does.content).hexdigest()
        tfrecord.unlink()
        command = ["table", "download", f"{url}/{tfrecord.name}", "--sha256", digest]
        command += ["--ca-file", certificate, "--quiet"]
        does.cut_after = 500
        code, _, err = run(*command)
        assert (code, err.count("\n")) == (1, 1)
        assert "error: the connection was cut after" in err
        assert "the same command resumes" in err
        does.cut_after = None
        code, out, err = run(*command)
        assert (code, err) == (0, "")
        size = len(does.content)
        assert out == f"{tfrecord.name}: {size:,} bytes, SHA-256 as stated\n"
        assert "Range" in does.requests[-1]
        code, out, _ = run(*command, "--json")
        assert json.loads(out) == {"path": tfrecord.name, "bytes": size, "sha256": digest}
        assert run("table", "import", tfrecord.name)[0] == 0

    def test_errors_are_one_line(self, run, tmp_path, server):
        url, certificate, does = server
        does.content = b"abc"
        trusted = ["--ca-file", certificate, "--quiet", "--sha256", "0" * 64]
        for code, arguments, problem in (
            (2, [f"{url}/x", *trusted], "has the SHA-256 ba7816bf"),
            (1, [f"{url}/x", "--quiet", "--sha256", "0" * 64], "127.0.0.1 cannot be trusted"),
            (2, ["http://127.0.0.1/x", *trusted], "is no https URL: write https://"),
        ):
            found, _, err = run("table", "download", *arguments)
            assert (found, err.count("\n")) == (code, 1), err
            assert problem in err
        does.status = 404
        code, _, err = run("table", "download", f"{url}/x", *trusted)
        assert code == 1
        assert "the server has no such file (404 Not Found)" in err
        assert not (tmp_path / "x").exists()

    def test_progress_has_rate_and_time_left(self, run, monkeypatch, server):
        monkeypatch.setattr("netwright.cli.reading.LOG_EVERY", 0.0)
        url, certificate, does = server
        does.content = bytes(3_000_000)
        digest = hashlib.sha256(does.content).hexdigest()
        options = ["--sha256", digest, "--ca-file", certificate]
        _, _, err = run("table", "download", f"{url}/zeros", *options)
        lines = err.splitlines()
        assert lines[0] == "0 %  0.0 MB"
        assert lines[-1].startswith("100 %  3.0 MB  ")
        assert lines[-1].endswith("MB/s  0:00 left")

    def test_help_teaches(self, run):
        _, out, _ = run("table", "download", "--help")
        words = " ".join(out.split())
        assert "goes on with the same command" in words
        assert "SSL_CERT_FILE" in words
        _, out, _ = run("table", "import", "--help")
        words = " ".join(out.split())
        assert "nasbench_only108.tfrecord" in words
        assert "NATS-tss-v1_0-3ffb9-simple" in words


def test_enas_csv(run, tmp_path):
    """Its columns are known, and a row that stands there twice counts once."""
    text = "1 0 5 4 0 0;- 0 11 111 1000 00100"
    row = text.replace(";", ",") + ",0.7322"
    other = "2 4 0 3 0 5,- 0 01 100 0000 00000,0.7478"
    header = "ops,skips,weight_sharing_accuracy"
    (tmp_path / "enas6.csv").write_text("\n".join([header, row, other, row]))
    code, out, err = run("table", "import", "enas6.csv", "--space", "enas", "--json")
    assert code == 0, err
    info = json.loads(out)
    assert (info["space"], info["rows"]) == ("enas", 2)
    assert info["metrics"] == ["cifar10/weight-sharing"]
    _, out, _ = run("table", "query", "enas6.safetensors", text, "--json")
    assert json.loads(out)[0] == {"arch": text, "cifar10/weight-sharing": pytest.approx(0.7322)}
    code, _, err = run("table", "info", "enas6.safetensors", "--verify")
    assert code == 0, err
