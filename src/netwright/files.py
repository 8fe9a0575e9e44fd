"""Files that survive a crash: atomic writes, state trees, and a lock between processes."""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import safetensors
import torch
from safetensors.torch import load, save

#: A nested dict (string keys) or list of tensors and JSON values.
type_of_state = dict[str, Any]

_TENSOR = "__tensor__"


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write ``data`` so that a reader sees the old file or the new one, never a part.

    The bytes are on the disk, under their final name, when this returns.

    Raises:
        OSError: If the disk is full or read-only; the old file is then untouched.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":  # make the rename itself durable
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save_state(path: Path, state: type_of_state) -> None:
    """Write a state tree as one safetensors file, atomically.

    Tensors are stored as such; everything else goes, as JSON, into the file's metadata, with a
    checksum of it all. Tuples come back as lists.

    Raises:
        TypeError: If the tree holds something that is neither a tensor nor JSON, a key that is
            not a string, or a tensor of a type that safetensors does not know.
        OSError: If the disk is full or read-only; the old file is then untouched.
    """
    tensors: dict[str, torch.Tensor] = {}

    def strip(node: Any) -> Any:
        if isinstance(node, torch.Tensor):
            name = str(len(tensors))
            tensors[name] = node.detach().cpu().contiguous().clone()
            return {_TENSOR: name}
        if isinstance(node, dict):
            for key in node:
                if not isinstance(key, str) or key == _TENSOR:
                    raise TypeError(f"a state tree cannot have the key {key!r}: use other strings")
            return {key: strip(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [strip(value) for value in node]
        return node

    tree = json.dumps(strip(state))
    try:
        data = save(tensors, metadata={"tree": tree, "checksum": _checksum(tree, tensors)})
    except KeyError as unknown:
        raise TypeError(f"safetensors cannot store a tensor of {unknown}") from unknown
    write_atomic(path, data)


def load_state(path: Path) -> type_of_state:
    """Read a state tree written by `save_state`, tensors on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, altered, or not a state file.
    """
    data = Path(path).read_bytes()  # at once: another process may replace the file
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        if metadata["checksum"] != _checksum(metadata["tree"], tensors):
            raise ValueError("its checksum is wrong")
        tree = json.loads(metadata["tree"])
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or is not a state file: {error}") from error

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            if node.keys() == {_TENSOR}:
                return tensors[node[_TENSOR]]
            return {key: fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return [fill(value) for value in node]
        return node

    return dict(fill(tree))


def _checksum(tree: str, tensors: dict[str, torch.Tensor]) -> str:
    total = zlib.crc32(tree.encode())
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name} {tensor.dtype} {tensor.shape}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the OS lock on ``path`` for the block; the OS frees it if the process dies.

    Raises:
        BlockingIOError: If another process holds it.
    """
    lock = filelock.FileLock(path, timeout=0, thread_local=False)  # any thread may release it
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BlockingIOError(f"another process is using {Path(path).parent}") from None
    try:
        yield
    finally:
        lock.release()
