"""Which importer reads a file, by what the file is."""

from pathlib import Path
from typing import Literal

from netwright.tables.nasbenchgraph import PACKAGE

#: Kinds of benchmark files.
Format = Literal["csv", "nasbench101", "natsbench", "nasbenchgraph"]

#: The search space of each official benchmark.
SPACES: dict[Format, str] = {
    "nasbench101": "nasbench101",
    "natsbench": "nasbench201",
    "nasbenchgraph": "nasbenchgraph",
}

_BZIP2, _ZIP = b"BZh", b"PK\x03\x04"
_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P"  # torch.save before 1.6: a pickled magic number
_FRAME = 12  # length and checksum of the first record of a TFRecord file


def recognise(path: Path | str) -> Format:
    """Tell official files and folders, and CSV, apart.

    NAS-Bench-Graph's are the name of its package, wheels, ``.bench`` files and folders with some.
    Any other folder is NATS-Bench's; so are files compressed by bzip2 and those written by
    torch.save (NAS-Bench-201). A TFRecord file begins with the length of a JSON list. All else
    is CSV.

    Raises:
        FileNotFoundError: If there is nothing at ``path``.
    """
    path = Path(path)
    if path.suffix in (".whl", ".bench") or (str(path) == PACKAGE and not path.exists()):
        return "nasbenchgraph"
    if path.is_dir() and next(path.rglob("*.bench"), None):
        return "nasbenchgraph"
    if path.is_dir():
        return "natsbench"
    with path.open("rb") as file:
        head = file.read(_FRAME + 1)
    if head.startswith((_BZIP2, _ZIP, _TORCH)):
        return "natsbench"
    if head[4:8] == bytes(4) and head[_FRAME:] == b"[":
        return "nasbench101"
    return "csv"
