"""Random graphs over a layout: the prior of explorers and the baseline of generators.

Edges follow the Erdős-Rényi, Watts-Strogatz or Barabási-Albert model on the free pairs; forced
edges are always there, forbidden ones never. Operations are independent of the edges.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright.generators.base import Generator
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.graphs.random import barabasi_albert, erdos_renyi, watts_strogatz

Model = Literal["er", "ws", "ba"]
Sizes = Literal["full", "uniform"]

#: The smallest graph of ``sizes="uniform"``: an input, one operation, an output.
SMALLEST = 3


class RandomGraph(Generator):
    """Random graphs with random operations; there is nothing to learn.

    Where no edge may connect two parts of the layout (`Layout.blocks`), as in networks of several
    cells, each part is a random graph of its own with the same parameters.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        model: "er" (Erdős-Rényi), "ws" (Watts-Strogatz) or "ba" (Barabási-Albert).
        p: Probability of an edge ("er") or of rewiring one ("ws"); a range to draw it from for
            each graph ([GraphPNAS] section 4.1).
        k: Neighbours of each node on the ring before rewiring ("ws"); lowered to the largest
            even number that smaller graphs allow. Or a range, of whose even numbers one is drawn.
        m: Edges each new node comes with ("ba"); lowered likewise.
        sizes: "full" draws graphs of ``max_nodes`` nodes, to be pruned ([GraphPNAS] appendix E);
            "uniform" draws the number of nodes first, uniformly from 3 to ``max_nodes``
            (GraphPNAS's released code). Without an ending operation all graphs are full.
        op_weights: Relative frequency of each operation, restricted at each position to what
            the layout allows there; equal if None. The ending operation has no weight: it
            stands at the last node, where the layout allows it.

    Raises:
        ValueError: On an unknown model, or if a position is left without an operation.
    """

    weights: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        model: Model = "er",
        p: float | tuple[float, float] = 0.5,
        k: int | tuple[int, int] = 4,
        m: int = 2,
        sizes: Sizes = "full",
        op_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if model not in ("er", "ws", "ba"):
            raise ValueError(f"unknown model {model!r}: use 'er', 'ws' or 'ba'")
        if sizes not in ("full", "uniform"):
            raise ValueError(f"unknown sizes {sizes!r}: use 'full' or 'uniform'")
        self.layout, self.model, self.p, self.k, self.m = layout, model, p, k, m
        low, high = p if isinstance(p, tuple) else (p, p)
        if not 0 <= low <= high <= 1:
            raise ValueError(f"p must lie in 0..1, or be a range there, lowest first, not {p}")
        if isinstance(k, tuple) and not even_numbers(k):
            raise ValueError(f"k must be a range with an even number in it, not {k}")
        given = [1.0] * layout.num_ops if op_weights is None else list(op_weights)
        weights = torch.tensor(given, dtype=torch.float)
        if weights.shape != (layout.num_ops,) or (weights < 0).any():
            raise ValueError(f"op_weights must be {layout.num_ops} numbers, none negative")
        at = weights * layout.allowed_ops
        self.sizes = [layout.max_nodes]
        if layout.end_op is not None:
            end = layout.allowed_ops[:, layout.end_op]
            at[:, layout.end_op] = 0.0
            if end[-1]:
                at[-1] = torch.nn.functional.one_hot(torch.tensor(layout.end_op), layout.num_ops)
            if sizes == "uniform":
                candidates = range(min(SMALLEST, layout.max_nodes), layout.max_nodes)
                self.sizes = [n for n in candidates if end[n - 1]] + self.sizes
        for position in (at.sum(dim=1) == 0).nonzero()[:, 0].tolist():
            raise ValueError(
                f"no operation is left for node {position}: give a positive weight to one of "
                f"{layout.allowed_ops[position].nonzero()[:, 0].tolist()} (the end cannot stand "
                "before the last node)"
            )
        self.register_buffer("weights", at, persistent=False)
        self._blocks = layout.blocks()
        if all(block.stop - block.start == 1 for block in self._blocks):
            self._blocks = [slice(0, layout.max_nodes)]  # there are no edges at all

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` graphs."""
        if isinstance(self.p, tuple):
            low, high = self.p
            p = low + (high - low) * torch.rand(n, generator=rng)
        else:
            p = torch.full((n,), float(self.p))
        if isinstance(self.k, tuple):
            even = torch.tensor(even_numbers(self.k))
            k = even[torch.randint(len(even), (n,), generator=rng)]
        else:
            k = torch.full((n,), self.k)
        return self.sample_each(p, k, torch.full((n,), self.m), rng=rng)

    def sample_each(
        self,
        p: Float[Tensor, " batch"],
        k: Int[Tensor, " batch"],
        m: Int[Tensor, " batch"],
        *,
        rng: torch.Generator,
    ) -> ArchitectureBatch:
        """Draw a graph with each setting of the model's parameters, in place of its own."""
        layout, total, n = self.layout, self.layout.max_nodes, len(p)
        choices = torch.tensor(self.sizes)
        num_nodes = choices[torch.randint(len(choices), (n,), generator=rng)]
        drawn = torch.multinomial(self.weights.cpu(), max(n, 1), replacement=True, generator=rng)
        ops = drawn.T[:n].contiguous()
        if layout.end_op is not None:
            short = num_nodes < total
            ops[short, num_nodes[short] - 1] = layout.end_op
        adj = torch.zeros(n, total, total, dtype=torch.bool)
        for size in self.sizes:
            of_size = num_nodes == size
            for block in self._blocks if size == total else [slice(0, size)]:
                nodes = block.stop - block.start
                edges = self._edges(nodes, p[of_size], k[of_size], m[of_size], rng=rng)
                adj[of_size, block, block] = edges
        archs = ArchitectureBatch.masked(ops, adj & layout.free | layout.forced, num_nodes)
        return archs.to(self.weights.device)

    def _edges(
        self,
        size: int,
        p: Float[Tensor, " batch"],
        k: Int[Tensor, " batch"],
        m: Int[Tensor, " batch"],
        *,
        rng: torch.Generator,
    ) -> Bool[Tensor, "batch node node"]:
        """Draw edges by the model, before the layout has its say."""
        n = len(p)
        if size < 2 or not n:
            return torch.zeros(n, size, size, dtype=torch.bool)
        if self.model == "er":
            return erdos_renyi(n, size, p, rng=rng)
        if self.model == "ws":
            return watts_strogatz(n, size, k.clamp(max=(size - 1) // 2 * 2), p, rng=rng)
        edges = torch.zeros(n, size, size, dtype=torch.bool)
        attached = m.clamp(max=size - 1)
        for count in attached.unique().tolist():
            alike = attached == count
            edges[alike] = barabasi_albert(int(alike.sum()), size, count, rng=rng)
        return edges


def even_numbers(ends: tuple[int, int]) -> range:
    """Return the even numbers of a range, both ends included."""
    return range(ends[0] + ends[0] % 2, ends[1] + 1, 2)
