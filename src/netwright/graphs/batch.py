"""The one data type that every space, generator, searcher and evaluator speaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ArchitectureBatch:
    """A batch of operation-labelled DAGs, padded to a common number of nodes.

    Nodes are stored in topological order, so an edge always runs from a lower to a higher
    index: acyclicity is a property of the layout, not something to check at run time.

    Attributes:
        ops: Operation index of each node; 0 where ``node_mask`` is false.
        adj: ``adj[b, i, j]`` is the edge ``i -> j`` of graph ``b``; strictly upper triangular,
            false where either end is padding.
        num_nodes: Number of real nodes of each graph; the rest is padding.
    """

    ops: Int[Tensor, "batch node"]
    adj: Bool[Tensor, "batch node node"]
    num_nodes: Int[Tensor, " batch"]

    def __len__(self) -> int:
        return self.ops.shape[0]

    def __getitem__(self, index: slice | Tensor) -> "ArchitectureBatch":
        """Select graphs by slice, index tensor or boolean mask; always returns a batch."""
        return self._map(lambda field: field[index])

    @property
    def max_nodes(self) -> int:
        """The padded number of nodes."""
        return self.ops.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.ops.device

    @property
    def node_mask(self) -> Bool[Tensor, "batch node"]:
        """True for real nodes."""
        position = torch.arange(self.ops.shape[1], device=self.ops.device)
        return position < self.num_nodes[:, None]

    @property
    def num_edges(self) -> Int[Tensor, " batch"]:
        """Number of edges of each graph."""
        return self.adj.sum(dim=(1, 2))

    @classmethod
    def cat(cls, batches: Sequence["ArchitectureBatch"]) -> "ArchitectureBatch":
        """Concatenate, padding all to the largest padded size."""
        size = max(b.max_nodes for b in batches)
        parts = [(p.ops, p.adj, p.num_nodes) for p in (b.pad(size) for b in batches)]
        return cls(*(torch.cat(fields) for fields in zip(*parts, strict=True)))

    @classmethod
    def empty(cls, max_nodes: int) -> "ArchitectureBatch":
        """A batch of no graphs."""
        zeros = torch.zeros
        return cls(
            zeros(0, max_nodes, dtype=torch.long),
            zeros(0, max_nodes, max_nodes, dtype=torch.bool),
            zeros(0, dtype=torch.long),
        )

    @classmethod
    def masked(
        cls,
        ops: Int[Tensor, "batch node"],
        adj: Bool[Tensor, "batch node node"],
        num_nodes: Int[Tensor, " batch"],
    ) -> "ArchitectureBatch":
        """Make a batch from tensors whose padding may hold anything: clear it."""
        real = cls(ops, adj, num_nodes).node_mask
        place = torch.arange(ops.shape[1], device=ops.device)
        edges = adj & real[:, :, None] & real[:, None, :] & (place[:, None] < place)
        return cls(ops * real, edges, num_nodes)

    def pad(self, max_nodes: int) -> "ArchitectureBatch":
        """Pad to ``max_nodes`` nodes.

        Raises:
            ValueError: If a graph has more nodes than that.
        """
        extra = max_nodes - self.max_nodes
        if extra < 0:
            if len(self) and int(self.num_nodes.max()) > max_nodes:
                raise ValueError(f"a graph of {int(self.num_nodes.max())} nodes > {max_nodes=}")
            return ArchitectureBatch(
                self.ops[:, :max_nodes], self.adj[:, :max_nodes, :max_nodes], self.num_nodes
            )
        grow = torch.nn.functional.pad
        return ArchitectureBatch(
            grow(self.ops, (0, extra)), grow(self.adj, (0, extra, 0, extra)), self.num_nodes
        )

    def equal(self, other: "ArchitectureBatch") -> Bool[Tensor, " batch"]:
        """Tell which graphs are the same to the letter (node order included)."""
        size = max(self.max_nodes, other.max_nodes)
        a, b = self.pad(size), other.pad(size)
        same = (a.ops == b.ops).all(dim=1) & (a.adj == b.adj).all(dim=(1, 2))
        return same & (a.num_nodes == b.num_nodes)

    def to(self, device: torch.device | str) -> "ArchitectureBatch":
        """Copy to ``device``."""
        return self._map(lambda field: field.to(device))

    def _map(self, fn: Callable[[Tensor], Tensor]) -> "ArchitectureBatch":
        return ArchitectureBatch(fn(self.ops), fn(self.adj), fn(self.num_nodes))
