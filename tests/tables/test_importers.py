"""Files are told apart by what they are, not by their names."""

import bz2
import gzip
import io
import zipfile

import pytest
import torch
from official import frame

from netwright.tables.importers import recognise


def saved(**options):
    buffer = io.BytesIO()
    torch.save({"meta_archs": []}, buffer, **options)
    return buffer.getvalue()


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", b"")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"arch,acc\n", "csv"),
        ("\ufeffarch,acc\n".encode(), "csv"),
        (gzip.compress(b"arch,acc\n", mtime=0), "csv"),
        (b"", "csv"),
        (b"\x80", "csv"),
        (frame(b'["0a", 108, "0100", "input,output", ""]'), "nasbench101"),
        (frame(b"not a list"), "csv"),
        (bz2.compress(b""), "natsbench"),
        (saved(), "natsbench"),
        (saved(_use_new_zipfile_serialization=False), "natsbench"),
        (zipped(), "natsbench"),
    ],
)
def test_content_tells(tmp_path, content, kind):
    path = tmp_path / "file.dat"
    path.write_bytes(content)
    assert recognise(path) == kind


def test_a_folder_and_nothing(tmp_path):
    assert recognise(tmp_path) == "natsbench"
    with pytest.raises(FileNotFoundError):
        recognise(tmp_path / "none")
