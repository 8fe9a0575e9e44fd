"""Reachability, pruning, node orders, paths and statistics of DAGs, for whole batches at once.

"Input" and "output" are a graph's first and last node. Lengths count edges.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch


def reachable(archs: ArchitectureBatch) -> Bool[Tensor, "batch node node"]:
    """Tell for each pair of nodes ``[i, j]`` whether a path runs from i to j; i reaches itself."""
    reached = torch.zeros_like(archs.adj)
    for j in range(archs.max_nodes):
        into = archs.adj[:, None, :j, j]
        reached[:, :, j] = (reached[:, :, :j] & into).any(dim=2)
        reached[:, j, j] = archs.node_mask[:, j]
    return reached


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
    return ArchitectureBatch.masked(*_permuted(archs, order), keep.sum(dim=1))


def prune(archs: ArchitectureBatch) -> ArchitectureBatch:
    """Remove every node on no path from first to last ([GraphPNAS] appendix E).

    The first and last node stay even where no path joins them; such a graph is left with those
    two nodes and no edge.
    """
    keep = on_path(archs)
    position = torch.arange(archs.max_nodes, device=archs.device)
    ends = (position == 0) | (position == archs.num_nodes[:, None] - 1)
    return select_nodes(archs, keep | ends)


def refine(archs: ArchitectureBatch) -> ArchitectureBatch:
    """Prune, and join the first node to the last where nothing is left ([GNN2GNN] section 3.2.1).

    Removing nodes without inputs from front to back, then nodes without outputs from back to
    front, leaves exactly the paths from first to last; a graph without any gets the one edge.
    """
    pruned = prune(archs)
    bare = torch.zeros_like(pruned.adj)
    if archs.max_nodes > 1:
        bare[:, 0, 1] = (pruned.num_nodes == 2) & ~pruned.adj.flatten(1).any(dim=1)
    return ArchitectureBatch(pruned.ops, pruned.adj | bare, pruned.num_nodes)


def reorder(archs: ArchitectureBatch, order: Int[Tensor, "batch node"]) -> ArchitectureBatch:
    """Renumber nodes: node ``order[b, i]`` of graph ``b`` becomes its node ``i``.

    Raises:
        ValueError: If ``order`` is no permutation, runs an edge back, or moves padding.
    """
    ops, adj = _permuted(archs, order)
    position = torch.arange(archs.max_nodes, device=archs.device)
    permutes = (order.sort(dim=1).values == position).all()
    if (
        not permutes
        or adj.tril().any()
        or (order >= archs.num_nodes[:, None])[archs.node_mask].any()
    ):
        raise ValueError("a node order must be a topological one, with all padding at the end")
    return ArchitectureBatch(ops, adj, archs.num_nodes)


def random_order(archs: ArchitectureBatch, *, rng: torch.Generator) -> Int[Tensor, "batch node"]:
    """Draw a topological order of each graph, for `reorder`; every such order can come up."""
    priority = torch.rand(archs.ops.shape, generator=rng).to(archs.device)
    waiting = archs.node_mask.clone()
    graph = torch.arange(len(archs), device=archs.device)
    order = []
    for i in range(archs.max_nodes):
        ready = waiting & ~(archs.adj & waiting[:, :, None]).any(dim=1)
        chosen = torch.where(ready, priority, -1.0).argmax(dim=1)
        order.append(torch.where(i < archs.num_nodes, chosen, i))
        waiting[graph, chosen] = False
    return torch.stack(order, dim=1) if order else archs.ops


def path_counts(archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
    r"""Count the paths from input to output, in float64 (exact below 2^53).

    $P_0 = 1$, $P_j = \sum_{i \to j} P_i$; the count is $P$ of the output.
    """
    return _paths(archs)[0]


def mean_path(archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
    r"""Average the lengths of all paths from input to output; NaN where there is none.

    The "average path" of [GraphPNAS] Table 9. With $P_j$ paths from input to node $j$
    (`path_counts`), their total length is $L_j = \sum_{i \to j} (L_i + P_i)$, and the mean is
    $L / P$ of the output.
    """
    count, total = _paths(archs)
    return total / count


def longest_path(archs: ArchitectureBatch) -> Int[Tensor, " batch"]:
    r"""Return the length of the longest path from input to output; -1 where there is none.

    The "longest path" of [GraphPNAS] Table 9: $l_0 = 0$, $l_j = 1 + \max_{i \to j} l_i$ over the
    nodes $i$ that the input reaches.
    """
    length = torch.full_like(archs.ops, -1)
    length[:, 0] = 0
    for j in range(1, archs.max_nodes):
        usable = archs.adj[:, :j, j] & (length[:, :j] >= 0)
        length[:, j] = torch.where(usable, length[:, :j] + 1, -1).amax(dim=1)
    return _at_output(archs, length)


def reverse(archs: ArchitectureBatch) -> ArchitectureBatch:
    """Turn every edge around and number the nodes from the last to the first."""
    position = torch.arange(archs.max_nodes, device=archs.device)
    order = torch.where(archs.node_mask, archs.num_nodes[:, None] - 1 - position, position)
    ops, adj = _permuted(archs, order)
    return ArchitectureBatch(ops, adj.mT, archs.num_nodes)


def clustering_coefficient(archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
    """Average the local clustering coefficients of the undirected graph ([GraphPNAS] Fig. 3).

    Of a node with $k$ neighbours, $t$ pairs of which are joined: $C = 2t / (k (k - 1))$, and 0
    for $k < 2$, as in [You2020]; the mean is over all nodes of the graph.
    """
    edges = (archs.adj | archs.adj.mT).double()
    degree = edges.sum(dim=2)
    closed = (edges @ edges * edges).sum(dim=2)  # 2 t: each joined pair is seen from both ends
    local = closed / (degree * (degree - 1)).clamp(min=1)
    return local.sum(dim=1) / archs.num_nodes


def average_path_length(archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
    """Average the shortest-path lengths of the undirected graph ([GraphPNAS] Fig. 3, [You2020]).

    The mean is over all pairs of different nodes that are joined by a path (all pairs, where the
    graph is connected); NaN where no two nodes are.
    """
    edges = archs.adj | archs.adj.mT
    step = (edges | torch.eye(archs.max_nodes, dtype=torch.bool, device=archs.device)).float()
    within = torch.zeros_like(step).diagonal_scatter(archs.node_mask.float(), dim1=1, dim2=2)
    pairs, total = within.sum(dim=(1, 2)), torch.zeros(len(archs), device=archs.device)
    reached = pairs
    for length in range(1, archs.max_nodes):
        within = (within @ step > 0).float()
        now = within.sum(dim=(1, 2))
        total = total + length * (now - reached)
        reached = now
    return total.double() / (reached - pairs)


def _permuted(
    archs: ArchitectureBatch, order: Int[Tensor, "batch node"]
) -> tuple[Int[Tensor, "batch node"], Bool[Tensor, "batch node node"]]:
    """Operations and edges, node ``order[b, i]`` moved to ``i``."""
    rows = archs.adj.gather(1, order[:, :, None].expand_as(archs.adj))
    return archs.ops.gather(1, order), rows.gather(2, order[:, None, :].expand_as(archs.adj))


def _paths(archs: ArchitectureBatch) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Number and total length of the paths from input to output."""
    adj = archs.adj.double()
    count = torch.zeros_like(archs.ops, dtype=torch.double)
    count[:, 0] = 1
    total = torch.zeros_like(count)
    for j in range(1, archs.max_nodes):
        into = adj[:, :j, j]
        count[:, j] = (into * count[:, :j]).sum(dim=1)
        total[:, j] = (into * (total[:, :j] + count[:, :j])).sum(dim=1)
    return _at_output(archs, count), _at_output(archs, total)


def _at_output(archs: ArchitectureBatch, value: Tensor) -> Tensor:
    return value.gather(1, (archs.num_nodes - 1).clamp(min=0)[:, None])[:, 0]
