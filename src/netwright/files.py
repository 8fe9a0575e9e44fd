"""Files that survive a crash: atomic writes, state trees, and a lock between processes."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import safetensors
import torch
from safetensors.torch import save

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

    Tensors are stored as such; everything else goes, as JSON, into the file's metadata.

    Raises:
        TypeError: If the tree holds something that is neither a tensor nor JSON.
    """
    tensors: dict[str, torch.Tensor] = {}

    def strip(node: Any, name: str) -> Any:
        if isinstance(node, torch.Tensor):
            tensors[name] = node.detach().cpu().contiguous().clone()
            return {_TENSOR: name}
        if isinstance(node, dict):
            return {str(k): strip(v, f"{name}/{k}") for k, v in node.items()}
        if isinstance(node, list | tuple):
            return [strip(v, f"{name}/{i}") for i, v in enumerate(node)]
        return node

    tree = json.dumps(strip(state, ""))
    write_atomic(path, save(tensors, metadata={"tree": tree}))


def load_state(path: Path) -> type_of_state:
    """Read a state tree written by `save_state`, tensors on the CPU.

    Raises:
        ValueError: If the file is truncated or is not a state file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tree = json.loads(file.metadata()["tree"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or is not a state file: {error}") from error

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            if node.keys() == {_TENSOR}:
                return tensors[node[_TENSOR]]
            return {k: fill(v) for k, v in node.items()}
        if isinstance(node, list):
            return [fill(v) for v in node]
        return node

    return dict(fill(tree))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the OS lock on ``path`` for the block; the OS frees it if the process dies.

    Raises:
        BlockingIOError: If another process holds it.
    """
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BlockingIOError(f"another process is using {Path(path).parent}") from None
    try:
        yield
    finally:
        lock.release()
