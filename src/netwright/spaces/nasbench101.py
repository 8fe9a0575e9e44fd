"""NAS-Bench-101 [Ying2019]: cells of up to 7 nodes and 9 edges with three operations."""

from collections.abc import Sequence
from functools import cached_property
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
    one_edit,
    parse_graph_text,
    rejection_sample,
)

_INPUT, _OUTPUT = 0, 4
_INTERIOR = (1, 2, 3)


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

    Raises:
        ValueError: If ``max_nodes`` is below 2 or ``max_edges`` below 1.
    """

    name = "nasbench101"
    op_names = ("input", "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", "output")

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

    @cached_property
    def size(self) -> int:
        """Number of distinct architectures; enumerates once, except for the published space."""
        if (self._max_nodes, self._max_edges) == (7, 9):
            return 423_624  # [Ying2019] section 2.1
        return len(self.enumerate())

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

        The last kind inserts a node ``v`` with edges ``i -> v -> j`` for any ``i < j``, or takes
        such a node out; if ``b`` is a neighbour of ``a``, then ``a`` is one of ``b``. Node order
        does not matter: isomorphic results are listed once, and never ``arch`` itself.
        """
        n = int(arch.num_nodes[0])
        edited = dag.prune(one_edit(arch, self.layout))
        lost_nodes, lost_edges = n - edited.num_nodes, arch.num_edges - edited.num_edges
        edited = edited[(lost_nodes == 0) | ((lost_nodes == 1) & (lost_edges == 2))]
        if n < self._max_nodes:
            edited = ArchitectureBatch.cat([edited, _insertions(arch.pad(n))])
        return distinct_members(self, edited.pad(self._max_nodes), but=arch)

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
        """
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


def _insertions(arch: ArchitectureBatch) -> ArchitectureBatch:
    """Insert a node ``v`` with edges ``i -> v -> j``, right after ``i``, for all i, j and ops."""
    n = arch.max_nodes
    source, target = torch.triu_indices(n, n, offset=1)
    source = source.repeat_interleave(len(_INTERIOR))
    target = target.repeat_interleave(len(_INTERIOR))
    place = torch.arange(len(source))
    position = torch.arange(n + 1)
    order = position - (position > source[:, None] + 1).long()  # old node at each new position
    order = torch.where(position == source[:, None] + 1, n, order)
    grown = arch.pad(n + 1)
    ops = grown.ops[0][order]
    adj = grown.adj[0][order[:, :, None], order[:, None, :]]
    ops[place, source + 1] = torch.tensor(_INTERIOR).repeat(len(source) // len(_INTERIOR))
    adj[place, source, source + 1] = True
    adj[place, source + 1, target + 1] = True
    return ArchitectureBatch(ops, adj, torch.full((len(source),), n + 1))
