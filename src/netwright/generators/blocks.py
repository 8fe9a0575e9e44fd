"""A generator for each part of a graph, where no edge leads from one part to another.

[GraphPNAS] appendix B: a network whose stages have cells of their own is drawn by conditionally
independent generators, one for each stage, so that log-probabilities add.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from netwright.generators.base import Generator, HasLogProb
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout


class Partition:
    """The blocks of a layout (`Layout.blocks`) as layouts of their own.

    Each has only the operations that its nodes may have, numbered anew.

    Args:
        layout: Of graphs of full size, without an ending operation.

    Attributes:
        layouts: Of each block.

    Raises:
        ValueError: If the layout has an ending operation.
    """

    def __init__(self, layout: Layout) -> None:
        if layout.end_op is not None:
            raise ValueError("graphs that end early have no blocks of a fixed size")
        self.layout, self._blocks = layout, layout.blocks()
        self.layouts: list[Layout] = []
        self._ops: list[list[int]] = []
        for block in self._blocks:
            ops = layout.allowed_ops[block].any(dim=0).nonzero()[:, 0].tolist()
            inside = replace(
                layout,
                max_nodes=block.stop - block.start,
                num_ops=len(ops),
                allowed_ops=layout.allowed_ops[block][:, ops],
                free=layout.free[block, block],
                forced=layout.forced[block, block],
                max_edges=None,
                connected=False,
            )
            self.layouts.append(inside)
            self._ops.append(ops)

    def join(self, parts: Sequence[ArchitectureBatch]) -> ArchitectureBatch:
        """Make whole graphs of as many graphs of each block."""
        n, total, device = len(parts[0]), self.layout.max_nodes, parts[0].device
        adj = torch.zeros(n, total, total, dtype=torch.bool, device=device)
        ops = torch.zeros(n, total, dtype=torch.long, device=device)
        for block, known, part in zip(self._blocks, self._ops, parts, strict=True):
            adj[:, block, block] = part.adj
            ops[:, block] = torch.tensor(known, device=device)[part.ops]
        return ArchitectureBatch(ops, adj, torch.full((n,), total, device=device))

    def split(
        self, archs: ArchitectureBatch
    ) -> tuple[Bool[Tensor, " batch"], list[ArchitectureBatch]]:
        """Return which graphs fit the layout, and the blocks of all as graphs of their own."""
        fits: Tensor = torch.stack(list(self.layout.rules(archs).values())).all(dim=0)
        archs = archs.pad(self.layout.max_nodes)
        parts = []
        for block, known in zip(self._blocks, self._ops, strict=True):
            number = torch.zeros(self.layout.num_ops, dtype=torch.long, device=archs.device)
            number[known] = torch.arange(len(known), device=archs.device)
            ops = number[archs.ops[:, block].clamp(0, self.layout.num_ops - 1)]
            size = torch.full((len(archs),), block.stop - block.start, device=archs.device)
            parts.append(ArchitectureBatch(ops, archs.adj[:, block, block], size))
        return fits, parts


@runtime_checkable
class MakeGenerator(Protocol):
    """Makes a generator with a likelihood for a layout, for example ``GraphPNAS`` itself."""

    def __call__(self, layout: Layout, *, rng: torch.Generator) -> HasLogProb:
        """Return an ``nn.Module`` whose parameters are drawn from ``rng``."""
        ...


class Blocks(Generator):
    """Independent generators for the blocks of a layout; none knows of the others.

    Args:
        layout: Of graphs of full size, without an ending operation.
        make: Makes each generator; it needs an exact ``log_prob``.
        rng: Initialises them, one after another.

    Raises:
        ValueError: If the layout has an ending operation.
        TypeError: If what ``make`` returns has no ``log_prob``.
    """

    def __init__(self, layout: Layout, make: MakeGenerator, *, rng: torch.Generator) -> None:
        super().__init__()
        self.layout = layout
        self._partition = Partition(layout)
        self.parts = nn.ModuleList()
        for inside in self._partition.layouts:
            part = make(inside, rng=rng)
            if not isinstance(part, HasLogProb) or not isinstance(part, nn.Module):
                raise TypeError(f"{type(part).__name__} has no log_prob")
            self.parts.append(part)

    def sample(
        self, n: int, *, rng: torch.Generator, temperature: float | None = None
    ) -> ArchitectureBatch:
        """Draw ``n`` graphs, block after block.

        Args:
            n: How many.
            rng: CPU generator.
            temperature: Divides logits, where the generators have that; 1 if None.
        """
        heat = {} if temperature is None else {"temperature": temperature}
        drawn = [part.sample(n, rng=rng, **heat) for part in self.parts]  # type: ignore[operator]
        return self._partition.join(drawn)

    def log_prob(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """Return the sum of the blocks' log-likelihoods, in nats.

        Minus infinity for graphs the layout rules out.
        """
        fits, parts = self._partition.split(archs)
        total = torch.zeros(len(archs), device=archs.device)
        for part, some in zip(self.parts, parts, strict=True):
            total = total + part.log_prob(some)  # type: ignore[operator]
        return torch.where(fits, total, -torch.inf)

    def log_prob_parts(self, archs: ArchitectureBatch) -> Float[Tensor, "batch 2"]:
        """Return the log-likelihoods of edges and of operations, each summed over the blocks."""
        _, parts = self._partition.split(archs)
        pairs = zip(self.parts, parts, strict=True)
        both = [part.log_prob_parts(some) for part, some in pairs]  # type: ignore[operator]
        return torch.stack(both).sum(dim=0)
