"""Reachability, pruning, paths and statistics of DAGs, for whole batches at once."""

import torch
from jaxtyping import Bool
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch


def from_first(archs: ArchitectureBatch) -> Bool[Tensor, "batch node"]:
    """Tell which nodes can be reached from the first node, itself included."""
    reached = torch.zeros_like(archs.ops, dtype=torch.bool)
    reached[:, 0] = archs.num_nodes > 0
    for j in range(1, archs.max_nodes):  # topological order: one sweep suffices
        reached[:, j] = (reached[:, :j] & archs.adj[:, :j, j]).any(dim=1)
    return reached


def to_last(archs: ArchitectureBatch) -> Bool[Tensor, "batch node"]:
    """Tell from which nodes the last node can be reached, itself included."""
    position = torch.arange(archs.max_nodes, device=archs.device)
    reached = position == archs.num_nodes[:, None] - 1
    for i in range(archs.max_nodes - 2, -1, -1):
        reached[:, i] |= (reached[:, i + 1 :] & archs.adj[:, i, i + 1 :]).any(dim=1)
    return reached


def on_path(archs: ArchitectureBatch) -> Bool[Tensor, "batch node"]:
    """Tell which nodes lie on a path from the first node to the last."""
    return from_first(archs) & to_last(archs)


def select_nodes(archs: ArchitectureBatch, keep: Bool[Tensor, "batch node"]) -> ArchitectureBatch:
    """Keep the induced subgraph on ``keep``, order preserved, padding moved to the end."""
    keep = keep & archs.node_mask
    order = (~keep).long().argsort(dim=1, stable=True)
    ops = archs.ops.gather(1, order)
    rows = archs.adj.gather(1, order[:, :, None].expand_as(archs.adj))
    adj = rows.gather(2, order[:, None, :].expand_as(archs.adj))
    return ArchitectureBatch.masked(ops, adj, keep.sum(dim=1))


def prune(archs: ArchitectureBatch) -> ArchitectureBatch:
    """Remove every node on no path from first to last ([GraphPNAS] appendix E).

    The first and last node stay even where no path joins them; such a graph is left with those
    two nodes and no edge.
    """
    keep = on_path(archs)
    position = torch.arange(archs.max_nodes, device=archs.device)
    ends = (position == 0) | (position == archs.num_nodes[:, None] - 1)
    return select_nodes(archs, keep | ends)
