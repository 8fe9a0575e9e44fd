"""What the importers share: architectures as text, many at once, checked; errors name the place."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import SearchSpace, parse_graph_text

#: Told how many rows or records were read so far, and which share of the whole file that is.
Progress = Callable[[int, float], None]

#: What people call the i-th text, as in "row 17".
Name = Callable[[int], str]


def no_progress(done: int, share: float) -> None:
    """Tell nobody."""


def read_texts(texts: Sequence[str], space: SearchSpace, *, name: Name) -> ArchitectureBatch:
    """Read architectures in the space's text form, simplified and checked for membership.

    Raises:
        ValueError: If a text cannot be read or is no member; the message begins with its name.
    """
    return _checked(texts, space, space.from_text, name)


def read_graphs(texts: Sequence[str], space: SearchSpace, *, name: Name) -> ArchitectureBatch:
    """Read architectures as ``op,op,...:bits`` whatever the space's text form; else the same."""
    return _checked(texts, space, lambda some: _matrices(some, space), name)


def _checked(
    texts: Sequence[str],
    space: SearchSpace,
    read: Callable[[Sequence[str]], ArchitectureBatch],
    name: Name,
) -> ArchitectureBatch:
    try:
        archs = space.simplify(read(texts))
    except ValueError:
        for i, text in enumerate(texts):  # which one was it?
            try:
                read([text])
            except ValueError as error:
                raise ValueError(f"{name(i)}: {error}") from error
        raise
    for i in (~space.is_valid(archs)).nonzero()[:, 0].tolist():
        raise ValueError(f"{name(i)}: {texts[i]!r} is {space.invalid_reason(archs[i : i + 1])}")
    return archs


def _matrices(texts: Sequence[str], space: SearchSpace) -> ArchitectureBatch:
    """Do what `parse_graph_text` does, all graphs of one size at once."""
    index = {name: i for i, name in enumerate(space.op_names)}
    size = space.layout.max_nodes
    ops = np.zeros((len(texts), size), dtype=np.int64)
    adj = np.zeros((len(texts), size, size), dtype=bool)
    num_nodes = np.zeros(len(texts), dtype=np.int64)
    parts = [text.partition(":") for text in texts]
    names = [labels.split(",") for labels, _, _ in parts]
    groups: dict[int, list[int]] = {}
    for i, labels in enumerate(names):
        groups.setdefault(len(labels), []).append(i)
    for n, rows in groups.items():
        joined = "".join(parts[i][2] for i in rows).encode()
        known = all(name in index for i in rows for name in names[i])
        square = all(len(parts[i][2]) == n * n for i in rows) and len(joined) == len(rows) * n * n
        if n > size or not known or not square or joined.strip(b"01"):
            return parse_graph_text(texts, space.op_names, size)  # says what is wrong
        matrix = (np.frombuffer(joined, dtype=np.uint8) == ord("1")).reshape(-1, n, n)
        if np.tril(matrix).any():
            return parse_graph_text(texts, space.op_names, size)
        ops[rows, :n] = [[index[name] for name in names[i]] for i in rows]
        adj[rows, :n, :n] = matrix
        num_nodes[rows] = n
    return ArchitectureBatch(*map(torch.from_numpy, (ops, adj, num_nodes)))
