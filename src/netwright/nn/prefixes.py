"""Graphs under construction, packed for message passing: the nodes so far and one new node."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch


@dataclass(frozen=True, eq=False)
class Prefixes:
    """The first nodes of some graphs, each with a new node of which nothing is known yet.

    The nodes of all prefixes are the rows of one matrix, so that prefixes of any sizes mix
    without padding.

    Attributes:
        op: Operation of each row; ``num_ops`` for new nodes.
        features: One-hot incoming neighbours and one-hot position of each row.
        source: Row of each edge's first node. The new node is joined to all before it.
        target: Row of each edge's second node.
        new: Row of each prefix's new node.
        candidates: Rows of the nodes before the new node; the new node itself as padding.
        exists: Which candidates there are.
    """

    op: Int[Tensor, " row"]
    features: Float[Tensor, "row feature"]
    source: Int[Tensor, " edge"]
    target: Int[Tensor, " edge"]
    new: Int[Tensor, " prefix"]
    candidates: Int[Tensor, "prefix node"]
    exists: Bool[Tensor, "prefix node"]

    def __len__(self) -> int:
        return len(self.new)

    @classmethod
    def pack(cls, known: ArchitectureBatch, num_ops: int) -> "Prefixes":
        """Add a new node to each graph and pack them.

        Args:
            known: The nodes so far and the edges among them; may have none. Every graph needs
                room for one more node.
            num_ops: Size of the operation vocabulary.
        """
        size = known.num_nodes[:, None]
        position = torch.arange(known.max_nodes, device=known.device)
        exists = position < size
        real = position <= size
        is_new = position == size
        row = real.flatten().cumsum(dim=0).view(real.shape) - 1
        new = row.gather(1, size)
        linked = known.adj | (exists[:, :, None] & is_new[:, None, :])
        prefix, source, target = linked.nonzero(as_tuple=True)
        place = torch.eye(known.max_nodes, device=known.device).expand(len(row), -1, -1)
        features = torch.cat([known.adj.transpose(1, 2).float(), place], dim=2)
        return cls(
            op=torch.where(is_new, num_ops, known.ops)[real],
            features=features[real],
            source=row[prefix, source],
            target=row[prefix, target],
            new=new[:, 0],
            candidates=torch.where(exists, row, new),
            exists=exists,
        )
