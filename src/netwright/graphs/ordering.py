"""The same graph, stored in other orders of its nodes."""

import torch
from jaxtyping import Int
from torch import Tensor

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch

_CHUNK = 2**14  # graphs whose orders are listed at a time


def topological_orders(
    archs: ArchitectureBatch, *, limit: int | None = None
) -> tuple[Int[Tensor, "order node"], Int[Tensor, " order"]]:
    """List the topological orders of each graph, for `dag.reorder`.

    Built node by node, all orders of all graphs at once. There can be as many as ``n!``.

    Args:
        archs: The graphs.
        limit: List no more than this many orders of a graph, the first in lexicographic order.

    Returns:
        The orders, graph by graph and each graph's in lexicographic order, and the graph that
        each is of. Padding stays at the end.
    """
    graph = torch.arange(len(archs), device=archs.device)
    waiting = archs.node_mask
    order = torch.zeros(len(archs), 0, dtype=torch.long, device=archs.device)
    for i in range(archs.max_nodes):
        padding = archs.num_nodes[graph] <= i
        blocked = (archs.adj[graph] & waiting[:, :, None]).any(dim=1)
        ready = waiting & ~blocked
        ready[:, i] |= padding
        row, node = ready.nonzero().T
        if limit is not None:
            row, node = _first(row, node, graph[row], limit)
        graph, order = graph[row], torch.cat([order[row], node[:, None]], dim=1)
        waiting = waiting[row].scatter(1, node[:, None], False)
    return order, graph


def reorderings(
    archs: ArchitectureBatch, *, limit: int | None = None
) -> tuple[ArchitectureBatch, Int[Tensor, " copy"]]:
    """List each graph in all the ways in which it can be stored differently ([SVGe] III-D).

    A copy is isomorphic to its original (`hashing.keys` are equal) but differs from it, and from
    the other copies, in operations or edges as they are stored (`hashing.labelled_keys` differ).

    Args:
        archs: The graphs.
        limit: Look at no more than this many topological orders of a graph, the first in
            lexicographic order; for graphs too large to list them all.

    Returns:
        The copies, graph by graph, and the graph that each is a copy of.
    """
    copies, origins = [archs[:0]], [torch.zeros(0, dtype=torch.long, device=archs.device)]
    for start in range(0, len(archs), _CHUNK):
        some = archs[start : start + _CHUNK]
        order, graph = topological_orders(some, limit=limit)
        moved = dag.reorder(some[graph], order)
        fresh = _unlike(some, moved, graph)
        copies.append(moved[fresh])
        origins.append(start + graph[fresh])
    return ArchitectureBatch.cat(copies), torch.cat(origins)


def _unlike(
    archs: ArchitectureBatch, copies: ArchitectureBatch, graph: Int[Tensor, " copy"]
) -> Int[Tensor, " fresh"]:
    """The copies that differ from their graph and from earlier copies of it."""
    number = torch.arange(len(archs), device=archs.device)
    # Shifted by the graph's number, so that only copies of one graph meet.
    own = hashing.labelled_keys(archs) + number[:, None]
    key = hashing.labelled_keys(copies) + graph[:, None]
    first = hashing.first_of_each(torch.cat([own, key]))
    return first[first >= len(own)] - len(own)


def _first(
    row: Int[Tensor, " option"],
    node: Int[Tensor, " option"],
    graph: Int[Tensor, " option"],
    limit: int,
) -> tuple[Int[Tensor, " kept"], Int[Tensor, " kept"]]:
    """The first ``limit`` options of each graph, where options stand graph by graph."""
    place = torch.arange(len(graph), device=graph.device)
    kept = place - torch.searchsorted(graph, graph) < limit
    return row[kept], node[kept]
