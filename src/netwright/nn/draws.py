"""Many graphs drawn at the same latent points, node by node: those that agree so far share a row.

What a network says of the next step depends on the point and the graph so far only. Draws at one
point often agree on much of the graph (500 draws of a trained decoder have a dozen distinct
beginnings), so the network sees each beginning once, however many draws have it. Every draw still
makes its own random choices: the draws are as independent of each other as if none were shared.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch


class Draws:
    """Graphs in the making: a row for each distinct one of a point, and the row of each draw.

    A single draw at each point keeps a row to itself.

    Args:
        points: How many.
        each: Draws at each.
        size: Largest number of nodes of a graph.
        device: Where rows and draws live.

    Attributes:
        graphs: What was drawn so far, by row.
        point: That of each row.
        row: That of each draw whose graph goes on.
    """

    def __init__(self, points: int, each: int, size: int, device: torch.device) -> None:
        self._each = each
        self._draw = torch.arange(points * each, device=device)
        self.point = torch.arange(points, device=device)
        self.row = self.point.repeat_interleave(each)
        ops = torch.zeros(points, size, dtype=torch.long, device=device)
        adj = torch.zeros(points, size, size, dtype=torch.bool, device=device)
        self.graphs = ArchitectureBatch(ops, adj, torch.full_like(self.point, size))
        self._which = torch.zeros_like(self._draw)
        self._done = [self.graphs[:0]]

    def split(
        self, choice: Int[Tensor, "draw part"], options: int
    ) -> tuple[slice | Tensor, Int[Tensor, "row part"]]:
        """Let draws go their ways: those of one row that chose alike share a row from now on.

        Args:
            choice: What each draw chose, a number for each part of the choice.
            options: How many numbers there are to choose from.

        Returns:
            Of each new row, the old one it comes from and what was chosen.
        """
        if self._each == 1:
            return slice(None), choice
        before, way, bound = self.row, self.row, len(self.point)
        for part in choice.unbind(dim=1):
            if bound * options >= 2**63:  # too large a number
                distinct, way = way.unique(return_inverse=True)
                bound = len(distinct)
            way, bound = way * options + part, bound * options
        distinct, self.row = way.unique(return_inverse=True)
        example = torch.zeros_like(distinct)  # a draw of each new row, whichever
        example[self.row] = torch.arange(len(way), device=way.device)
        come_from = before[example]
        self.point, self.graphs = self.point[come_from], self.graphs[come_from]
        return come_from, choice[example]

    def finish(self, ended: Bool[Tensor, " row"], nodes: int) -> slice | Tensor:
        """Put the graphs of these rows aside, with so many nodes; return which rows are left."""
        if not bool(ended.any()):
            return slice(None)
        left, over = ~ended, ended[self.row]
        first = sum(len(graphs) for graphs in self._done)
        done = self.graphs[ended]
        self._done.append(
            ArchitectureBatch(done.ops, done.adj, torch.full_like(done.num_nodes, nodes))
        )
        self._which[self._draw[over]] = first + _place(ended)[self.row[over]]
        self._draw, self.row = self._draw[~over], _place(left)[self.row[~over]]
        self.point, self.graphs = self.point[left], self.graphs[left]
        return left

    def result(self) -> tuple[ArchitectureBatch, Int[Tensor, "point each"]]:
        """Return the finished graphs, and which of them each draw is."""
        return ArchitectureBatch.cat(self._done), self._which.view(-1, self._each)


def _place(mask: Bool[Tensor, " row"]) -> Int[Tensor, " row"]:
    """Number the rows in the mask, from 0."""
    return mask.cumsum(dim=0) - 1
