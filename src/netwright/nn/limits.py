"""Rules on a graph as a whole, kept while it grows node by node: connected, few edges.

What can still be completed is kept so. Say the graph so far has ``e`` edges and ``l`` loose ends,
nodes without a successor: its output, which takes them all, could be next, with ``e + l`` edges. A
node whose predecessors are loose ends only adds one to this sum; every other predecessor adds one
more. So the sum must not exceed the largest number of edges, and it never has to.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Limits:
    """What a graph as a whole must satisfy.

    Attributes:
        max_edges: Largest number of edges; None if there is no limit.
        connected: Whether every node must lie on a path from the first node to the last.
    """

    max_edges: int | None
    connected: bool

    def ops(
        self,
        allowed: Bool[Tensor, "row op"],
        adj: Bool[Tensor, "row any any"],
        step: int,
        end_op: Int[Tensor, " row"],
    ) -> Bool[Tensor, "row op"]:
        """Keep the operations of the next node with which the graph can still be completed."""
        if self.max_edges is None or not self.connected or step == 0:
            return allowed
        needed = adj.sum(dim=(1, 2)) + _loose(adj, step).sum(dim=1)
        ends = torch.arange(allowed.shape[1], device=allowed.device) == end_op[:, None]
        must_end = (needed >= self.max_edges) & (allowed & ends).any(dim=1)
        return allowed & (ends | ~must_end[:, None])

    def edges(
        self,
        drawn: Bool[Tensor, "row node"],
        free: Bool[Tensor, "row node"],
        score: Float[Tensor, "row node"],
        adj: Bool[Tensor, "row any any"],
        step: int,
        last: Bool[Tensor, " row"],
    ) -> Bool[Tensor, "row node"]:
        """Change drawn edges of a new node as little as the limits demand.

        Args:
            drawn: The edges from each node so far.
            free: Those that may be changed.
            score: How likely each is; the likeliest are added or kept.
            adj: The graph so far.
            step: The new node's position.
            last: Whether it is the last node of its graph.
        """
        loose = _loose(adj, step)
        if self.connected:
            drawn = drawn | (loose & free & last[:, None])
        if self.max_edges is not None:
            room = self.max_edges - adj.sum(dim=(1, 2))
            if self.connected:
                room = room - loose.sum(dim=1) - (~last).long()
                dear = drawn & free & ~loose
            else:
                room = room - (drawn & ~free).sum(dim=1)
                dear = drawn & free
            order = score.masked_fill(~dear, -torch.inf).argsort(dim=1, descending=True)
            drawn = drawn & ~(dear & (order.argsort(dim=1) >= room[:, None]))
        if self.connected:
            # A node needs a predecessor: the likeliest loose end, which costs nothing.
            best = score.masked_fill(~(free & loose), -torch.inf).argmax(dim=1)
            lonely = ~drawn.any(dim=1) & (free & loose).any(dim=1)
            drawn = drawn | (torch.nn.functional.one_hot(best, step).bool() & lonely[:, None])
        return drawn


def _loose(adj: Bool[Tensor, "row any any"], step: int) -> Bool[Tensor, "row node"]:
    """Tell which of the first ``step`` nodes have no successor yet."""
    return ~adj[:, :step].any(dim=2)
