"""A space small enough to know by heart, for tests, documentation and first steps."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import SearchSpace, one_edit


@final
class Toy(SearchSpace):
    """Chains of three nodes, each carrying one of three operations: 27 architectures.

    Text form: the operations, as in ``conv3x3,identity,conv1x1``.
    """

    name = "toy"
    op_names = ("identity", "conv1x1", "conv3x3")
    layout = Layout.make(3, 3, edges=[(0, 1), (1, 2)])
    size = 27

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` chains uniformly."""
        return self._chains(torch.randint(3, (n, 3), generator=rng))

    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List the six chains that differ in one operation."""
        return one_edit(arch, self.layout)

    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write the operations, joined by commas."""
        return [",".join(self.op_names[op] for op in row) for row in archs.ops[:, :3].tolist()]

    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read what `to_text` writes.

        Raises:
            ValueError: If a text is not three known operations.
        """
        rows = [text.split(",") for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if len(row) != 3 or not set(row) <= set(self.op_names):
                known = ", ".join(self.op_names)
                raise ValueError(f"{text!r} is not three operations out of {known}")
        index = [[self.op_names.index(name) for name in row] for row in rows]
        return self._chains(torch.tensor(index, dtype=torch.long).view(-1, 3))

    def enumerate(self) -> ArchitectureBatch:
        """List all 27 chains in lexicographic order."""
        ops = torch.arange(3)
        return self._chains(torch.cartesian_prod(ops, ops, ops))

    def _chains(self, ops: Int[Tensor, "batch node"]) -> ArchitectureBatch:
        n = len(ops)
        return ArchitectureBatch(ops, self.layout.forced.repeat(n, 1, 1), torch.full((n,), 3))
