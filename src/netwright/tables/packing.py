"""Graphs as few bytes: operations as bytes, edges as bits of the upper triangle."""

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch

#: One byte holds a node count or an operation.
LIMIT = 255


def pack(
    archs: ArchitectureBatch,
) -> tuple[UInt8[Tensor, "row node"], UInt8[Tensor, "row byte"], UInt8[Tensor, " row"]]:
    """Pack operations, edges and node counts.

    The edges are the upper triangle in row-major order, eight to a byte, first edge in the
    highest bit.

    Raises:
        ValueError: If there are more than `LIMIT` nodes or operations.
    """
    if archs.max_nodes > LIMIT or (len(archs) and int(archs.ops.max()) > LIMIT):
        raise ValueError(
            f"a table holds graphs of at most {LIMIT} nodes and {LIMIT + 1} operations"
        )
    i, j = torch.triu_indices(archs.max_nodes, archs.max_nodes, offset=1)
    edges = torch.from_numpy(np.packbits(archs.adj[:, i, j].cpu().numpy(), axis=1))
    return archs.ops.cpu().to(torch.uint8), edges, archs.num_nodes.cpu().to(torch.uint8)


def unpack(
    ops: UInt8[Tensor, "row node"],
    edges: UInt8[Tensor, "row byte"],
    num_nodes: UInt8[Tensor, " row"],
) -> ArchitectureBatch:
    """Undo `pack`."""
    size = ops.shape[1]
    i, j = torch.triu_indices(size, size, offset=1)
    bits = np.unpackbits(edges.numpy(), axis=1, count=len(i))
    adj = torch.zeros(len(ops), size, size, dtype=torch.bool)
    adj[:, i, j] = torch.from_numpy(bits).bool()
    return ArchitectureBatch(ops.long(), adj, num_nodes.long())


def sorted_order(keys: Int[Tensor, "row 2"]) -> Int[Tensor, " row"]:
    """Return the stable order that sorts keys as signed pairs (high, low)."""
    by_low = keys[:, 1].argsort(stable=True)
    return by_low[keys[by_low, 0].argsort(stable=True)]
