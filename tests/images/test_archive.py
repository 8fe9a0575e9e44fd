import io
import os
import stat
import tarfile
import threading
import zipfile

import pytest
from test_cifar import ten

from netwright.config.objects import make_data
from netwright.images.archive import unpacked

FILES = {"top/a.txt": b"one", "top/deep/er/b.bin": bytes(5000), "top/empty": b""}


def tar(path, files=FILES, **members):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return path


def zipped(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


WRITERS = [(tar, "x.tar"), (tar, "x.tar.gz"), (tar, "x.tgz"), (zipped, "x.zip"), (zipped, "X.ZIP")]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_what_was_packed(tmp_path, write, name):
    archive = write(tmp_path / name)
    found = unpacked(archive)
    assert found == tmp_path / name.split(".")[0] / "top"
    for name, content in FILES.items():
        assert (found.parent / name).read_bytes() == content
    (found / "a.txt").write_bytes(b"changed")
    assert unpacked(archive) == found  # it is not unpacked again
    assert (found / "a.txt").read_bytes() == b"changed"
    assert {p.name for p in tmp_path.iterdir()} == {archive.name, found.parent.name}


def test_several_things_at_the_top(tmp_path):
    assert unpacked(zipped(tmp_path / "x.zip", {"a": b"1", "b/c": b"2"})) == tmp_path / "x"


def test_folders_and_other_files_are_left_alone(tmp_path):
    (tmp_path / "x.zip").mkdir()
    assert unpacked(tmp_path / "x.zip") == tmp_path / "x.zip"
    assert unpacked(tmp_path / "nothing") == tmp_path / "nothing"
    with pytest.raises(FileNotFoundError, match=r"no archive .*y\.tar\.gz"):
        unpacked(tmp_path / "y.tar.gz")


@pytest.mark.parametrize("write", [tar, zipped])
@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/tmp/out", "a/..", "C:/out", "a\\..\\..\\out"]
)
def test_names_that_lead_out(tmp_path, write, name):
    root = tmp_path / "root"
    root.mkdir()
    archive = write(root / ("x.tar" if write is tar else "x.zip"), {"fine": b"1", name: b"2"})
    with pytest.raises(ValueError, match="leads out of it"):
        unpacked(archive)
    assert [p.name for p in root.iterdir()] == [archive.name]
    assert [p.name for p in tmp_path.iterdir()] == ["root"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_only_files_and_folders(tmp_path, kind):
    with pytest.raises(ValueError, match=r"'link', neither a file nor a folder"):
        unpacked(tar(tmp_path / "x.tar", link=kind))
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar"]


def test_a_link_in_a_zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="'link', which is no plain file"):
        unpacked(tmp_path / "x.zip")


@pytest.mark.parametrize("write", [tar, zipped])
def test_limits(tmp_path, write):
    archive = write(tmp_path / ("x.tar.gz" if write is tar else "x.zip"))
    for limits in ({"max_bytes": 5002}, {"max_files": 2}):
        with pytest.raises(ValueError, match="holds more than"):
            unpacked(archive, **limits)
        assert [p.name for p in tmp_path.iterdir()] == [archive.name]
    unpacked(archive, max_bytes=5003, max_files=3)


@pytest.mark.parametrize(("write", "name"), [(tar, "x.tar.gz"), (zipped, "x.zip")])
def test_damaged(tmp_path, write, name):
    archive = write(tmp_path / name, {"a": os.urandom(4000)})
    archive.write_bytes(archive.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"is damaged .*get it anew"):
        unpacked(archive)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_two_at_once(tmp_path):
    archive = zipped(tmp_path / "x.zip", {f"top/{i}": bytes(1000) for i in range(300)})
    found = []
    threads = [threading.Thread(target=lambda: found.append(unpacked(archive))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "x" / "top"] * 4
    assert {p.name for p in tmp_path.iterdir()} == {"x.zip", "x"}


def test_a_data_set_may_be_an_archive(tmp_path):
    (tmp_path / "files").mkdir()
    ten(tmp_path / "files")
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "files", "cifar-10-batches-bin")
    assert len(make_data(f"cifar10:{tmp_path / 'cifar-10-binary.tar.gz'}").train_labels) == 20
