"""The randomly wired cells of RandWire [Xie2019], as [GraphPNAS] searches them (section 3.1.2)."""

import re
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.graphs.random import erdos_renyi
from netwright.spaces.base import SearchSpace, distinct_members, one_edit

_DEGREE = 4  # mean number of neighbours of a sample's node, as of a WS(4, p) graph


@final
class RandWire(SearchSpace):
    """Any wiring of ``nodes`` convolutions; input and output are implied.

    The input feeds every node without predecessors; the output is the mean of every node without
    successors. So every graph is a member, and only the wiring is searched.

    With ``cells`` above 1, a network's stages have cells of their own ([GraphPNAS] appendix B). The
    cells are one graph, stage after stage, without edges between them; the operation names the
    stage, so that no two stages can be mistaken for one another.

    `sample` draws every edge with the same chance, four for a node on average (fewer in cells of
    less than 9 nodes).

    Text form: the number of nodes of each cell and its edges, as in ``4:0-1,0-2,1-3``; cells are
    separated by semicolons.

    Args:
        nodes: Nodes of a cell; 32 in both papers.
        cells: 1, shared by all stages, or one for each of so many stages.

    Raises:
        ValueError: If there is no node or no cell.
    """

    name = "randwire"

    def __init__(self, nodes: int = 32, cells: int = 1) -> None:
        if min(nodes, cells) < 1:
            raise ValueError(
                f"a network has a cell, and a cell a node, at least: {nodes=}, {cells=}"
            )
        self.nodes, self.cells = nodes, cells
        self.op_names = ("conv",) if cells == 1 else tuple(f"conv.{c + 1}" for c in range(cells))
        stage = torch.arange(cells).repeat_interleave(nodes)
        free = (stage[:, None] == stage).triu(diagonal=1)
        allowed = torch.nn.functional.one_hot(stage, cells).bool()
        self.layout = Layout(nodes * cells, cells, allowed, free, torch.zeros_like(free))
        self._stage = stage
        cell = rf"{nodes}:(\d+-\d+(,\d+-\d+)*)?"
        self._pattern = re.compile(";".join([cell] * cells))

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` wirings, each edge with chance 4 / (nodes - 1), at most 1/2."""
        chance = min(0.5, _DEGREE / max(1, self.nodes - 1))
        blocks = erdos_renyi(n * self.cells, self.nodes, chance, rng=rng)
        return self.joined(blocks.view(n, self.cells, self.nodes, self.nodes))

    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List the wirings that differ in one edge, each once."""
        return distinct_members(self, one_edit(arch, self.layout), but=arch)

    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write the edges of each cell, as in ``4:0-1,0-2,1-3``."""
        return [";".join(map(self._cell_text, cells)) for cells in self.split(archs)]

    def _cell_text(self, adj: Bool[Tensor, "node node"]) -> str:
        edges = ",".join(f"{i}-{j}" for i, j in adj.nonzero().tolist())
        return f"{self.nodes}:{edges}"

    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read what `to_text` writes.

        Raises:
            ValueError: If a text has another form, or an edge that runs back or leaves the cell.
        """
        adj = torch.zeros(len(texts), self.cells, self.nodes, self.nodes, dtype=torch.bool)
        for row, text in enumerate(texts):
            if not self._pattern.fullmatch(text):
                form = ";".join([f"{self.nodes}:0-1,..."] * self.cells)
                raise ValueError(f"{text!r} is not of the form {form!r}: nodes, and edges from-to")
            for cell, part in enumerate(text.split(";")):
                for edge in filter(None, part.partition(":")[2].split(",")):
                    source, target = map(int, edge.split("-"))
                    if not source < target < self.nodes:
                        raise ValueError(
                            f"{text!r}: edge {edge} does not run forward among the nodes 0 to "
                            f"{self.nodes - 1}"
                        )
                    adj[row, cell, source, target] = True
        return self.joined(adj)

    def split(self, archs: ArchitectureBatch) -> Bool[Tensor, "batch cell node node"]:
        """Return the wiring of each cell."""
        adj = archs.pad(len(self._stage)).adj[:, : len(self._stage), : len(self._stage)]
        blocks = adj.unflatten(2, (self.cells, self.nodes)).unflatten(1, (self.cells, self.nodes))
        of_cell: Tensor = blocks.diagonal(dim1=1, dim2=3).movedim(3, 1)
        return of_cell

    def with_ends(self, archs: ArchitectureBatch) -> tuple[ArchitectureBatch, tuple[str, ...]]:
        """Add the input, the output and, between cells, the mean of what the one before gives."""
        cells, n = self.split(archs), len(archs)
        names = ("input", *self.op_names, "mean", "output")
        stride = self.nodes + 1
        size = self.cells * stride + 1
        adj = torch.zeros(n, size, size, dtype=torch.bool, device=archs.device)
        ops = torch.zeros(n, size, dtype=torch.long, device=archs.device)
        for cell in range(self.cells):
            inside = slice(cell * stride + 1, (cell + 1) * stride)
            before, after = inside.start - 1, inside.stop
            wiring = cells[:, cell]
            adj[:, inside, inside] = wiring
            adj[:, before, inside] = ~wiring.any(dim=1)
            adj[:, inside, after] = ~wiring.any(dim=2)
            ops[:, inside], ops[:, after] = cell + 1, len(names) - 2
        ops[:, -1] = len(names) - 1
        full = ArchitectureBatch(ops, adj, torch.full((n,), size, device=archs.device))
        return full, names

    def joined(self, cells: Bool[Tensor, "batch cell node node"]) -> ArchitectureBatch:
        """Make architectures of the wirings of their cells."""
        n, size = len(cells), len(self._stage)
        adj = torch.zeros(n, self.cells, self.nodes, self.cells, self.nodes, dtype=torch.bool)
        for cell in range(self.cells):
            adj[:, cell, :, cell] = cells[:, cell]
        ops = self._stage.expand(n, size).clone()
        return ArchitectureBatch(ops, adj.view(n, size, size), torch.full((n,), size))
