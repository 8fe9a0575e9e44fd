"""NAS-Bench-201 [Dong2020]: cells with one of five operations on each of six edges."""

import re
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import SearchSpace, one_edit

#: The cell's edges ``source -> target``, in the order of nodes 1..6 and of the official string.
CELL_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

_FORM = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
_PATTERN = re.compile(re.escape(_FORM).replace(r"\{\}", "([^|~+]*)"))


@final
class NASBench201(SearchSpace):
    """All 15,625 cells of NAS-Bench-201, as graphs with operations on nodes [SVGe].

    Nodes 1..6 are the cell's edges (`CELL_EDGES`), between an input and an output node; an edge of
    the graph joins two operations that follow one another in the cell. The adjacency is the same
    for all cells, and ``none`` is an operation like the others, so that no two cells are
    isomorphic (some are nevertheless the same network).

    Text form: the official one, ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...~0|...~1|...~2|``.
    """

    name = "nasbench201"
    op_names = (
        "input",
        "none",
        "skip_connect",
        "nor_conv_1x1",
        "nor_conv_3x3",
        "avg_pool_3x3",
        "output",
    )
    layout = Layout.make(
        8,
        7,
        allowed_ops=[[0], *[[1, 2, 3, 4, 5]] * 6, [6]],
        edges=[(0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 7)],
    )
    size = 5**6

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` cells uniformly."""
        return self.cells(torch.randint(1, 6, (n, 6), generator=rng))

    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List the 24 cells that differ in one operation."""
        return one_edit(arch, self.layout)

    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write official architecture strings."""
        rows = archs.ops[:, 1:7].tolist()
        return [_FORM.format(*[self.op_names[op] for op in row]) for row in rows]

    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read official architecture strings.

        Raises:
            ValueError: If a text has another form or an unknown operation.
        """
        index = {name: op for op, name in enumerate(self.op_names) if 1 <= op <= 5}
        rows = []
        for text in texts:
            match = _PATTERN.fullmatch(text)
            if match is None:
                raise ValueError(f"{text!r} is not of the form {_FORM.format(*['op'] * 6)}")
            if unknown := [name for name in match.groups() if name not in index]:
                known = ", ".join(index)
                raise ValueError(f"unknown operation {unknown[0]!r} in {text!r}: use {known}")
            rows.append([index[name] for name in match.groups()])
        return self.cells(torch.tensor(rows, dtype=torch.long).view(-1, 6))

    def enumerate(self) -> ArchitectureBatch:
        """List all cells in lexicographic order of their six operations."""
        return self.cells(torch.cartesian_prod(*[torch.arange(1, 6)] * 6))

    def cells(self, ops: Int[Tensor, "batch 6"]) -> ArchitectureBatch:
        """Make cells from the operations on their edges, in the order of `CELL_EDGES`."""
        n = len(ops)
        full = torch.nn.functional.pad(ops, (1, 1))
        full[:, 7] = self.op_names.index("output")
        return ArchitectureBatch(full, self.layout.forced.repeat(n, 1, 1), torch.full((n,), 8))
