"""TFRecord files, read without TensorFlow.

A file is a sequence of records: the length of the data (little-endian, 8 bytes), a checksum of
those 8 bytes, the data, and a checksum of the data. A checksum is a CRC-32C, rotated and shifted
("masked") as TensorFlow does, in 4 little-endian bytes.
"""

import os
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

#: A record of a benchmark takes some hundred bytes; a longer one than this is no such record.
LARGEST = 1 << 20

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")


def masked_crc(data: bytes) -> int:
    """Return the checksum of ``data`` as TFRecord files store it.

    Raises:
        ImportError: If google-crc32c is missing.
    """
    crc = _crc32c()(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc32c() -> Callable[[bytes], int]:
    try:
        from google_crc32c import value
    except ImportError as missing:
        raise ImportError(
            "reading TFRecord files needs google-crc32c: pip install 'netwright[data]'"
        ) from missing
    return value  # type: ignore[no-any-return]


def read_records(path: Path | str) -> Iterator[tuple[bytes, float]]:
    """Yield the data of each record, checked, and the share of the file read so far.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated or a checksum differs; the message names the record,
            numbered from 1.
        ImportError: If google-crc32c is missing.
    """
    with Path(path).open("rb") as file:
        size = max(os.fstat(file.fileno()).st_size, 1)
        number, place = 0, 0
        while head := file.read(_HEAD.size):
            number += 1
            data = _record(file, head, f"{path}, record {number} (at byte {place:,})")
            place += _HEAD.size + len(data) + _TAIL.size
            yield data, place / size


def _record(file: BinaryIO, head: bytes, name: str) -> bytes:
    cut = f"{name} is cut off: the file is incomplete, download it again"
    altered = f"{name} was altered (its checksum differs): download the file again"
    if len(head) < _HEAD.size:
        raise ValueError(cut)
    length, length_crc = _HEAD.unpack(head)
    if masked_crc(head[:8]) != length_crc:
        raise ValueError(altered)
    if length > LARGEST:
        raise ValueError(f"{name} has {length:,} bytes: this is no benchmark file")
    body = file.read(length + _TAIL.size)
    if len(body) < length + _TAIL.size:
        raise ValueError(cut)
    data = body[:length]
    if masked_crc(data) != _TAIL.unpack(body[length:])[0]:
        raise ValueError(altered)
    return data
