"""Graphs under construction, packed for message passing: the nodes so far and one new node."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch

#: Kinds of an edge: between known nodes, or from a known node to the new one.
KNOWN, TO_NEW = 0, 1


@dataclass(frozen=True, eq=False)
class Prefixes:
    """The first nodes of some graphs, each with a new node of which nothing is known yet.

    The nodes of all prefixes are the rows of one matrix, so that prefixes of any sizes mix
    without padding. Where several replicas of a model run side by side, each has its own rows,
    edges and prefixes, as many as the others: what one has less is made up with rows that no
    prefix reads and edges among those.

    Attributes:
        replicas: Number of replicas.
        graph: Prefix each row belongs to.
        position: Position of each row's node in its graph.
        is_new: Whether a row is a prefix's new node.
        source: Row of each edge's first node. The new node is joined to all before it.
        target: Row of each edge's second node.
        kind: `KNOWN` or `TO_NEW`.
        slot: Place of each prefix among the ``new``; not all places are taken.
        new: Row of each place's new node.
        candidates: Rows of the nodes before the new node; the new node itself as padding.
        exists: Which candidates there are.
    """

    replicas: int
    graph: Int[Tensor, " row"]
    position: Int[Tensor, " row"]
    is_new: Bool[Tensor, " row"]
    source: Int[Tensor, " edge"]
    target: Int[Tensor, " edge"]
    kind: Int[Tensor, " edge"]
    slot: Int[Tensor, " prefix"]
    new: Int[Tensor, " slot"]
    candidates: Int[Tensor, "slot node"]
    exists: Bool[Tensor, "slot node"]

    @classmethod
    def pack(
        cls,
        known: ArchitectureBatch,
        replica: Int[Tensor, " prefix"] | None = None,
        replicas: int = 1,
    ) -> "Prefixes":
        """Add a new node to each graph and pack them.

        Args:
            known: The nodes so far and the edges among them; may have none. Every graph needs
                room for one more node.
            replica: The replica each graph belongs to, in ascending order; needed if there are
                several.
            replicas: Number of replicas.
        """
        size = known.num_nodes[:, None]
        place = torch.arange(known.max_nodes, device=known.device)
        exists = place < size
        linked = known.adj | (exists[:, :, None] & (place == size)[:, None, :])
        graph, position = (place <= size).nonzero(as_tuple=True)
        prefix, i, j = linked.nonzero(as_tuple=True)
        first = (known.num_nodes + 1).cumsum(0) - known.num_nodes - 1  # row of each graph's node 0
        is_new = position == known.num_nodes[graph]
        kind = (j == known.num_nodes[prefix]).long()
        if replicas == 1:
            new = first + known.num_nodes
            candidates = torch.where(exists, first[:, None] + place, new[:, None])
            slot = torch.arange(len(new), device=known.device)
            return cls(
                1, graph, position, is_new, first[prefix] + i, first[prefix] + j, kind,
                slot, new, candidates, exists,
            )  # fmt: skip
        assert replica is not None
        rows, edges, slots = (
            _Padding.of(owner, replicas) for owner in (replica[graph], replica[prefix], replica)
        )
        # One spare row per replica takes the edges and prefixes that only fill up.
        rows = _Padding(rows.place + replica[graph], rows.width + 1)
        spare = torch.arange(1, replicas + 1, device=known.device) * rows.width - 1
        first = rows.place[first]
        new = slots.fill(first + known.num_nodes, spare)
        spread = slots.spread(exists, replicas)
        before = slots.fill(first, spare)[:, None] + place
        return cls(
            replicas,
            rows.fill(graph, torch.zeros_like(spare)),
            rows.fill(position, torch.zeros_like(spare)),
            rows.spread(is_new, replicas),
            edges.fill(first[prefix] + i, spare),
            edges.fill(first[prefix] + j, spare),
            edges.fill(kind, torch.zeros_like(spare)),
            slots.place,
            new,
            torch.where(spread, before, new[:, None]),
            spread,
        )


@dataclass(frozen=True, eq=False)
class _Padding:
    """Where things go when each replica gets equally many places.

    Attributes:
        place: Place of each thing.
        width: Places of one replica.
    """

    place: Int[Tensor, " thing"]
    width: int

    @classmethod
    def of(cls, owner: Int[Tensor, " thing"], replicas: int) -> "_Padding":
        """Give every replica as many places as the largest needs."""
        count = owner.bincount(minlength=replicas)
        width = int(count.max())
        start = count.cumsum(0) - count
        rank = torch.arange(len(owner), device=owner.device) - start[owner]
        return cls(owner * width + rank, width)

    def fill(
        self, values: Int[Tensor, " thing"], spare: Int[Tensor, " replica"]
    ) -> Int[Tensor, " place"]:
        """Put values in their places, and a replica's ``spare`` in those that are left."""
        return spare.repeat_interleave(self.width).scatter(0, self.place, values)

    def spread(self, values: Bool[Tensor, "*thing"], replicas: int) -> Bool[Tensor, "*place"]:
        """Put values in their places, and False in those that are left."""
        out = values.new_zeros(replicas * self.width, *values.shape[1:])
        out[self.place] = values
        return out
