"""NAS-Bench-201's cells (NATS-Bench's topologies) without ``none`` and dangling nodes [GNN2GNN].

Of the 15,625 cells (`netwright.spaces.nasbench201`), 341 join input and output by no path and have
no graph here. The others give 8,764 graphs, isomorphic ones counted once: 4 of 3 nodes, 16 of 4,
128 of 5, 904 of 6, 3,616 of 7 and 4,096 of 8.

Deviations from the paper and its released code:

* The released code drops interior nodes with fewer than two edges, again and again; here every node
  on no path from input to output goes. For these cells the two come to the same.
* It compares graphs in the order in which their nodes are stored, which leaves 9,364, and 6,604
  where skip nodes are replaced by edges, the "7K" of the paper (`without_skips`; 5,256 if
  isomorphic ones count once).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import SearchSpace, graph_text, parse_graph_text
from netwright.spaces.nasbench201 import NASBench201

_INTERIOR: Final = ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "skip_connect")
_OPS: Final = ("input", *_INTERIOR, "output")
_SKIP: Final = _OPS.index("skip_connect")
_NONE: Final = NASBench201.op_names.index("none")


@final
class NATSPruned(SearchSpace):
    """The graphs that `pruned` makes of NAS-Bench-201's cells: 8,764, of 3 to 8 nodes.

    Text form: as in NAS-Bench-101, operations and row-major adjacency matrix, like
    ``input,nor_conv_3x3,output:010001000``.

    Attributes:
        size: Number of distinct architectures.
    """

    name = "nats_pruned"
    op_names = _OPS
    layout = Layout.make(
        8,
        len(_OPS),
        allowed_ops=[[0], *[[1, 2, 3, 4, 5]] * 6, [5]],
        end_op=5,
        connected=True,
    )
    size = 8_764

    def rules(self, archs: ArchitectureBatch) -> Mapping[str, Bool[Tensor, " batch"]]:
        """Those of the layout, and to be what a cell of NAS-Bench-201 is pruned to."""
        known = hashing.find(_members().known.to(archs.device), self.keys(archs)) >= 0
        return {**self.layout.rules(archs), "is a pruned cell of nasbench201": known}

    def simplify(self, archs: ArchitectureBatch) -> ArchitectureBatch:
        """Remove the nodes that lie on no path from input to output."""
        return dag.prune(archs)

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` of the distinct graphs uniformly."""
        return _members().archs[torch.randint(self.size, (n,), generator=rng)]

    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List what the cells one operation away from a cell of this graph are pruned to.

        All cells that are pruned to the graph count, so a neighbour may have some nodes more or
        fewer; and if ``b`` is a neighbour of ``a``, then ``a`` is one of ``b``.

        Raises:
            ValueError: If ``arch`` is not a member.
        """
        members = _members()
        own = members.find(self.keys(arch))
        if int(own) < 0:
            raise ValueError(f"no neighbours of a graph {self.invalid_reason(arch)}")
        cells = (members.of_cell == own).nonzero()[:, 0]
        step = 5 ** torch.arange(6)  # a cell's number, in base 5, has its operations as digits
        digit = cells[:, None] // step % 5
        edited = cells[:, None, None] + (torch.arange(5) - digit[:, :, None]) * step[:, None]
        near = members.of_cell[edited].unique()
        return members.archs[near[(near >= 0) & (near != own)]]

    def enumerate(self) -> ArchitectureBatch:
        """List every graph once, in the order in which NAS-Bench-201's cells come to it."""
        return _members().archs

    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write ``operation,operation,...:adjacency bits``."""
        return graph_text(archs, self.op_names)

    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read what `to_text` writes.

        Raises:
            ValueError: On an unknown operation, more than 8 nodes, or a matrix that is not square,
                binary and upper triangular.
        """
        return parse_graph_text(texts, self.op_names, self.layout.max_nodes)


def pruned(archs: ArchitectureBatch) -> ArchitectureBatch:
    """Drop ``none`` nodes, and then all that lies on no path from input to output.

    Args:
        archs: Cells of `NASBench201`.

    Returns:
        A graph with the operations of `NATSPruned` for each cell. One whose input and output no
        path joins is left with those two nodes and no edge, and is not a member.

    Raises:
        ValueError: If one is not a cell of NAS-Bench-201.
    """
    space = NASBench201()
    for i in (~space.is_valid(archs)).nonzero()[:, 0].tolist():
        raise ValueError(f"architecture {i + 1} is {space.invalid_reason(archs[i : i + 1])}")
    kept = dag.prune(dag.select_nodes(archs, archs.ops != _NONE))
    index = {name: op for op, name in enumerate(_OPS)}
    rename = torch.tensor([index.get(name, 0) for name in space.op_names], device=archs.device)
    return ArchitectureBatch(rename[kept.ops], kept.adj, kept.num_nodes)


def without_skips(archs: ArchitectureBatch) -> ArchitectureBatch:
    """Replace each skip node by edges from all its predecessors to all its successors.

    What is left has only nodes that compute, like the cells of NAS-Bench-101, but may be no member
    of `NATSPruned` any more. Paths of skips between the same two nodes become one edge, so
    different networks may become one graph.

    Args:
        archs: Graphs with the operations of `NATSPruned`.
    """
    skip = (archs.ops == _SKIP) & archs.node_mask
    adj = archs.adj.clone()
    for j in range(archs.max_nodes):  # topological order: chains of skips close on the way
        adj |= adj[:, :, j, None] & adj[:, j, None, :] & skip[:, j, None, None]
    return dag.select_nodes(ArchitectureBatch(archs.ops, adj, archs.num_nodes), ~skip)


@dataclass(frozen=True, eq=False)
class _Members:
    """The distinct graphs, and how the cells come to them.

    Attributes:
        archs: Each graph once.
        known: Their keys, sorted.
        row: Which graph each of the sorted keys is of.
        of_cell: Which graph each cell of NAS-Bench-201 is pruned to, in its order; -1 for none.
    """

    archs: ArchitectureBatch
    known: Int[Tensor, "known 2"]
    row: Int[Tensor, " known"]
    of_cell: Int[Tensor, " cell"]

    def find(self, key: Int[Tensor, "batch 2"]) -> Int[Tensor, " batch"]:
        """The number of the graph that has each key, -1 where none has."""
        place = hashing.find(self.known, key)
        return torch.where(place >= 0, self.row[place], -1)


@cache
def _members() -> _Members:
    graphs = pruned(NASBench201().enumerate())
    key = hashing.keys(graphs)
    joined = graphs.num_edges > 0
    first = joined.nonzero()[:, 0]
    first = first[hashing.first_of_each(key[first])]
    known = hashing.distinct(key[first])
    row = torch.empty(len(known), dtype=torch.long)
    row[hashing.find(known, key[first])] = torch.arange(len(first))
    place = hashing.find(known, key)
    of_cell = torch.where(place >= 0, row[place], -1)
    return _Members(graphs[first], known, row, of_cell)
