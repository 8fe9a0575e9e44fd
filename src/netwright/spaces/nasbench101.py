"""NAS-Bench-101 [Ying2019]: cells of up to 7 nodes and 9 edges with three operations."""

from collections.abc import Sequence
from itertools import product
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import (
    SearchSpace,
    distinct_members,
    graph_text,
    parse_graph_text,
    rejection_sample,
)

_INPUT, _OUTPUT = 0, 4
_INTERIOR = (1, 2, 3)

# Distinct cells of n nodes with n - 1, n, ... edges, as `enumerate` finds them.
_COUNTS = {
    2: (1,),
    3: (3, 3),
    4: (9, 33, 33, 9),
    5: (27, 225, 622, 811, 558, 198, 27),
    6: (81, 1260, 6909, 19701, 34059, 38463, 29235, 14946, 4977, 972, 81),
    7: (243, 6264, 58563, 294012),
}


@final
class NASBench101(SearchSpace):
    """Cells between an input and an output node, every node on a path between the two.

    Isomorphic cells count once: 423,624 architectures by default. Nodes on no path are pruned
    before anything is counted, as by the benchmark itself ([GraphPNAS] appendix E).

    Text form: operations and row-major adjacency matrix, as in
    ``input,conv3x3-bn-relu,output:010001000``.

    Args:
        max_nodes: Largest number of nodes, input and output included.
        max_edges: Largest number of edges.

    Attributes:
        size: Number of distinct architectures. Known, and the space `Enumerable`, up to 6 nodes,
            and for 7 nodes up to 9 edges.

    Raises:
        ValueError: If ``max_nodes`` is below 2 or ``max_edges`` below 1.
    """

    name = "nasbench101"
    op_names = ("input", "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", "output")
    size: int

    def __init__(self, max_nodes: int = 7, max_edges: int = 9) -> None:
        if max_nodes < 2 or max_edges < 1:
            raise ValueError(f"a cell has 2 nodes and 1 edge at least: {max_nodes=}, {max_edges=}")
        self.layout = Layout.make(
            max_nodes,
            len(self.op_names),
            allowed_ops=[[_INPUT], *[[*_INTERIOR, _OUTPUT]] * (max_nodes - 2), [_OUTPUT]],
            end_op=_OUTPUT,
            max_edges=max_edges,
            connected=True,
        )
        self._max_nodes, self._max_edges = max_nodes, max_edges
        if max_nodes < 7 or (max_nodes == 7 and max_edges <= 9):
            by_edges = [_COUNTS[n][: max(0, max_edges - n + 2)] for n in range(2, max_nodes + 1)]
            self.size = sum(map(sum, by_edges))

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` cells as the benchmark's random search does.

        Each pair of ``max_nodes`` nodes is joined with probability 1/2, operations are uniform;
        the cell is pruned, and drawn again if it has too many edges or no path. This is not the
        uniform distribution over distinct cells: small and asymmetric ones come up more often.

        Raises:
            RuntimeError: If hardly any draw has so few edges.
        """
        size = self._max_nodes

        def draw(count: int) -> ArchitectureBatch:
            adj = torch.rand(count, size, size, generator=rng) < 0.5
            interior = torch.randint(1, len(_INTERIOR) + 1, (count, size - 2), generator=rng)
            return _cells(adj.triu(diagonal=1), interior)

        return rejection_sample(self, n, draw)

    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List the cells that differ in one operation, one edge, or one node of two edges.

        The last kind puts in a node ``v`` with edges ``i -> v -> j``, or takes such a node out.
        Only the graph counts, not the order in which its nodes are stored; and if ``b`` is a
        neighbour of ``a``, then ``a`` is one of ``b``.
        """
        n = int(arch.num_nodes[0])
        arch = arch.pad(n)
        pruned = dag.prune(_rewired(arch))
        lost_nodes, lost_edges = n - pruned.num_nodes, arch.num_edges - pruned.num_edges
        kept = pruned[(lost_nodes == 0) | ((lost_nodes == 1) & (lost_edges == 2))]
        edits = [_relabelled(arch), kept, *([_grown(arch)] if n < self._max_nodes else [])]
        edited = ArchitectureBatch.cat(edits).pad(self._max_nodes)
        return distinct_members(self, edited, but=arch.pad(self._max_nodes))

    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write ``operation,operation,...:adjacency bits``."""
        return graph_text(archs, self.op_names)

    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read what `to_text` writes.

        Raises:
            ValueError: On an unknown operation, too many nodes, or a matrix that is not square,
                binary and upper triangular.
        """
        return parse_graph_text(texts, self.op_names, self._max_nodes)

    def simplify(self, archs: ArchitectureBatch) -> ArchitectureBatch:
        """Remove the nodes that lie on no path from input to output."""
        return dag.prune(archs)

    def enumerate(self) -> ArchitectureBatch:
        """List every cell once: by number of nodes, then adjacency pattern, then operations.

        Patterns without operations are reduced to one of each isomorphism class first: every
        cell is isomorphic to a labelling of the pattern that stands for its own.

        Raises:
            ValueError: If the size is not known, and may be too large to list.
        """
        if not hasattr(self, "size"):
            raise ValueError(
                f"cells of {self._max_nodes} nodes and {self._max_edges} edges may be too many to "
                "list: use at most 6 nodes, or 7 nodes and 9 edges"
            )
        by_nodes = [self._enumerate(n).pad(self._max_nodes) for n in range(2, self._max_nodes + 1)]
        return ArchitectureBatch.cat(by_nodes)

    def _enumerate(self, n: int) -> ArchitectureBatch:
        adj = _patterns(n, self._max_edges)
        one = torch.ones(n - 2, dtype=torch.long)
        adj = adj[hashing.first_of_each(hashing.keys(_cells(adj, one.expand(len(adj), -1))))]
        interior = torch.tensor(list(product(_INTERIOR, repeat=n - 2)), dtype=torch.long)
        cells = _cells(adj.repeat_interleave(len(interior), dim=0), interior.repeat(len(adj), 1))
        return cells[hashing.first_of_each(hashing.keys(cells))]


def _patterns(n: int, max_edges: int) -> Bool[Tensor, "batch node node"]:
    """All upper triangular matrices of ``n`` nodes, each on a path from first to last.

    In topological order, that is: every node but the first has an incoming edge, every node but
    the last an outgoing one. Built target by target.
    """
    adj = torch.zeros(1, n, n, dtype=torch.bool)
    for j in range(1, n):
        sources = (torch.arange(1, 2**j)[:, None] >> torch.arange(j)) & 1  # never empty
        adj = adj.repeat_interleave(len(sources), dim=0)
        adj[:, :j, j] = sources.bool().repeat(len(adj) // len(sources), 1)
        adj = adj[adj.sum(dim=(1, 2)) <= max_edges - (n - 1 - j)]  # later targets need one each
    return adj[adj[:, :-1].any(dim=2).all(dim=1)]


def _cells(
    adj: Bool[Tensor, "batch node node"], interior: Int[Tensor, "batch inner"]
) -> ArchitectureBatch:
    ops = torch.nn.functional.pad(interior, (1, 1))
    ops[:, -1] = _OUTPUT
    return ArchitectureBatch(ops, adj, torch.full((len(adj),), adj.shape[1]))


def _relabelled(arch: ArchitectureBatch) -> ArchitectureBatch:
    """Give one interior node another operation (or its own)."""
    node = torch.arange(1, arch.max_nodes - 1).repeat_interleave(len(_INTERIOR))
    ops = arch.ops.repeat(len(node), 1)
    ops[torch.arange(len(node)), node] = torch.tensor(_INTERIOR).repeat(arch.max_nodes - 2)
    return _stored(ops, arch.adj.repeat(len(node), 1, 1))


def _rewired(arch: ArchitectureBatch) -> ArchitectureBatch:
    """Add or remove one edge."""
    source, target = _forward(arch)
    adj = arch.adj.repeat(len(source), 1, 1)
    adj[torch.arange(len(source)), source, target] ^= True
    return _stored(arch.ops.repeat(len(source), 1), adj)


def _grown(arch: ArchitectureBatch) -> ArchitectureBatch:
    """Add one node and an edge to and from it."""
    n = arch.max_nodes
    source, target = _forward(arch).repeat_interleave(len(_INTERIOR), dim=1)
    place = torch.arange(len(source))
    adj = arch.pad(n + 1).adj.repeat(len(source), 1, 1)
    adj[place, source, n] = adj[place, n, target] = True
    new = torch.tensor(_INTERIOR).repeat(len(source) // len(_INTERIOR))
    return _stored(torch.cat([arch.ops.repeat(len(source), 1), new[:, None]], dim=1), adj)


def _forward(arch: ArchitectureBatch) -> Int[Tensor, "2 pair"]:
    """All pairs of nodes that an edge may join, or joins, without a cycle."""
    return (~dag.reachable(arch)[0].mT).nonzero().T


def _stored(
    ops: Int[Tensor, "batch node"], adj: Bool[Tensor, "batch node node"]
) -> ArchitectureBatch:
    """Put the nodes of acyclic graphs into a topological order, input first, output last."""
    n = ops.shape[1]
    depth = torch.zeros_like(ops)
    for _ in range(n):
        depth = torch.where(adj, depth[:, :, None] + 1, 0).amax(dim=1)
    depth = torch.where(ops == _INPUT, -1, torch.where(ops == _OUTPUT, n, depth))
    order = depth.argsort(dim=1, stable=True)
    rows = adj.gather(1, order[:, :, None].expand_as(adj))
    adj = rows.gather(2, order[:, None, :].expand_as(adj))
    return ArchitectureBatch(ops.gather(1, order), adj, torch.full((len(ops),), n))
