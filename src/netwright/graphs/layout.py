"""All that a generator knows of a search space: sizes, vocabulary, and what is fixed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.dag import on_path


@dataclass(frozen=True, eq=False)
class Layout:
    """What graphs may look like, before a space has its say.

    A graph is complete at the first node whose operation is ``end_op``, or at ``max_nodes``
    nodes. A generator is a distribution over exactly those graphs, restricted to what
    ``allowed_ops``, ``forced`` and ``free`` permit; ``max_edges`` and ``connected`` are left to
    rejection, so that likelihoods stay tractable.

    Attributes:
        max_nodes: Largest number of nodes.
        num_ops: Size of the operation vocabulary.
        allowed_ops: Which operations the node at each position may take.
        free: Node pairs ``i < j`` whose edge is to be decided.
        forced: Node pairs whose edge is always there (as soon as both nodes are). A pair that is
            neither free nor forced is forbidden.
        end_op: The operation that ends a graph; None if all graphs have ``max_nodes`` nodes.
        max_edges: Largest number of edges; None if there is no limit.
        connected: Whether every node must lie on a path from the first node to the last.
    """

    max_nodes: int
    num_ops: int
    allowed_ops: Bool[Tensor, "node op"]
    free: Bool[Tensor, "node node"]
    forced: Bool[Tensor, "node node"]
    end_op: int | None = None
    max_edges: int | None = None
    connected: bool = False

    def __post_init__(self) -> None:
        upper = torch.ones_like(self.free).triu(diagonal=1)
        if self.allowed_ops.shape != (self.max_nodes, self.num_ops):
            raise ValueError(f"allowed_ops must be {self.max_nodes} nodes x {self.num_ops} ops")
        if not self.allowed_ops.any(dim=1).all():
            raise ValueError("every node position needs at least one allowed operation")
        if self.free.shape != (self.max_nodes,) * 2 or self.forced.shape != self.free.shape:
            raise ValueError(f"free and forced must be {self.max_nodes} x {self.max_nodes}")
        if ((self.free | self.forced) & ~upper).any():
            raise ValueError("edges run from a lower to a higher node")
        if (self.free & self.forced).any():
            raise ValueError("an edge cannot be both free and forced")

    @classmethod
    def make(
        cls,
        max_nodes: int,
        num_ops: int,
        *,
        allowed_ops: Iterable[Iterable[int]] | None = None,
        edges: Iterable[tuple[int, int]] | None = None,
        end_op: int | None = None,
        max_edges: int | None = None,
        connected: bool = False,
    ) -> "Layout":
        """Make a layout from plain lists.

        Args:
            max_nodes: Largest number of nodes.
            num_ops: Size of the operation vocabulary.
            allowed_ops: For each position, the operations it may take; all if None.
            edges: The edges, all of them forced; if None, every pair ``i < j`` is free.
            end_op: The operation that ends a graph.
            max_edges: Largest number of edges.
            connected: Whether every node must lie on a path from the first node to the last.
        """
        allowed = torch.ones(max_nodes, num_ops, dtype=torch.bool)
        if allowed_ops is not None:
            allowed = torch.zeros_like(allowed)
            for position, ops in enumerate(allowed_ops):
                allowed[position, list(ops)] = True
        free = torch.ones(max_nodes, max_nodes, dtype=torch.bool).triu(diagonal=1)
        forced = torch.zeros_like(free)
        if edges is not None:
            free = torch.zeros_like(free)
            for source, target in edges:
                forced[source, target] = True
        return cls(max_nodes, num_ops, allowed, free, forced, end_op, max_edges, connected)

    def density(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """Return the share of the pairs of nodes that are joined, among those that may be.

        Of a graph smaller than the largest, every pair may be: simplifying it moves nodes.
        """
        nodes = archs.num_nodes.double()
        pairs = (nodes * (nodes - 1) / 2).clamp(
            min=1, max=max(1, int((self.free | self.forced).sum()))
        )
        return archs.num_edges.double() / pairs

    def blocks(self) -> list[slice]:
        """Return the runs of nodes that no edge may connect with the nodes before or after.

        One run of all nodes where any two parts may be connected, or where graphs end early.
        """
        if self.end_op is not None:
            return [slice(0, self.max_nodes)]
        pairs = self.free | self.forced
        begins = [
            node for node in range(self.max_nodes) if not pairs[:node, node:].any()
        ]  # the first node is one of them
        return [slice(a, b) for a, b in pairwise([*begins, self.max_nodes])]

    def freed(self, *, keep_ends: bool = False) -> "Layout":
        """Keep sizes, vocabulary and the ending operation; free everything else.

        The published generation metrics (validity and so on) are measured on this: a layout that
        forces what validity asks for would make them true by construction.

        Args:
            keep_ends: Keep what the first and the last position may be, as published models do.
                Where the last allows one operation alone, like an output, that ends a graph.
        """
        upper = torch.ones_like(self.free).triu(diagonal=1)
        allowed, end_op = torch.ones_like(self.allowed_ops), self.end_op
        if keep_ends:
            allowed[[0, -1]] = self.allowed_ops[[0, -1]]
            if end_op is None and self.max_nodes > 1 and int(allowed[-1].sum()) == 1:
                end_op = int(allowed[-1].long().argmax())
        return replace(
            self,
            allowed_ops=allowed,
            free=upper,
            forced=torch.zeros_like(upper),
            end_op=end_op,
            max_edges=None,
            connected=False,
        )

    def reversed(self) -> "Layout | None":
        """Return the layout of the graphs of `netwright.graphs.dag.reverse`.

        Where an operation ends graphs, of whatever size, the reversed ones end at the operation
        of the first node, and may at every position what they may for some size. None if the
        first node may have several operations, so that none of them tells the end.
        """
        if self.end_op is None:
            turned = [pairs.flip(0, 1).mT for pairs in (self.free, self.forced)]
            return replace(
                self, allowed_ops=self.allowed_ops.flip(0), free=turned[0], forced=turned[1]
            )
        first = self.allowed_ops[0].nonzero()[:, 0].tolist()
        if len(first) != 1 or first[0] == self.end_op or self.max_nodes < 2:
            return None
        allowed = torch.zeros_like(self.allowed_ops)
        free, kept = torch.zeros_like(self.free), torch.ones_like(self.forced)
        banned = torch.ones_like(self.free)
        for size in range(2, self.max_nodes + 1):
            ops = self.allowed_ops[:size].clone()
            if size < self.max_nodes:
                ops[-1] &= torch.arange(self.num_ops) == self.end_op
                if not ops[-1].any():
                    continue
            allowed[:size] |= ops.flip(0)
            inside = (slice(size), slice(size))
            mine_free, mine_forced = (
                pairs[inside].flip(0, 1).mT for pairs in (self.free, self.forced)
            )
            free[inside] |= mine_free
            kept[inside] &= mine_forced
            banned[inside] &= ~(mine_free | mine_forced)
        upper = torch.ones_like(free).triu(diagonal=1)
        allowed[-1] = self.allowed_ops[0]
        # What is forced for one size and forbidden for another is free.
        return replace(
            self,
            allowed_ops=allowed,
            free=upper & (free | ~(kept | banned)),
            forced=upper & kept & ~free,
            end_op=first[0],
        )

    def rules(self, archs: ArchitectureBatch) -> dict[str, Bool[Tensor, " batch"]]:
        """What must hold, as words, with the graphs for which it does."""
        if archs.max_nodes > self.max_nodes:
            fits = archs.num_nodes <= self.max_nodes
            kept = ArchitectureBatch.masked(
                archs.ops, archs.adj, archs.num_nodes.clamp(max=self.max_nodes)
            )
            return {f"at most {self.max_nodes} nodes": fits} | {
                rule: ok & fits for rule, ok in self.rules(kept.pad(self.max_nodes)).items()
            }
        archs = archs.pad(self.max_nodes)
        device, real = archs.device, archs.node_mask
        pair = real[:, :, None] & real[:, None, :]
        known = (archs.ops >= 0) & (archs.ops < self.num_ops)
        allowed = self.allowed_ops.to(device)[
            torch.arange(self.max_nodes, device=device), archs.ops.clamp(0, self.num_ops - 1)
        ]
        last = (archs.num_nodes - 1).clamp(min=0)[:, None]
        body = torch.arange(self.max_nodes, device=device) < last
        rules = {
            "at least one node": archs.num_nodes > 0,
            f"operations are numbered below {self.num_ops}": (known | ~real).all(dim=1),
            "every operation is allowed at its position": (allowed | ~real).all(dim=1),
            "every fixed edge is present": (archs.adj | ~(self.forced.to(device) & pair))
            .flatten(1)
            .all(dim=1),
            "no edge is forbidden": (~archs.adj | (self.free | self.forced).to(device))
            .flatten(1)
            .all(dim=1),
        }
        if self.end_op is None:
            rules[f"exactly {self.max_nodes} nodes"] = archs.num_nodes == self.max_nodes
        else:
            ends = archs.ops.gather(1, last)[:, 0] == self.end_op
            rules["the last node, and only the last, ends the graph"] = ends & ~(
                (archs.ops == self.end_op) & body
            ).any(dim=1)
        if self.max_edges is not None:
            rules[f"at most {self.max_edges} edges"] = archs.num_edges <= self.max_edges
        if self.connected:
            rules["every node lies on a path from input to output"] = (on_path(archs) | ~real).all(
                dim=1
            )
        return rules
