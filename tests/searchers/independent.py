"""The smallest policy there is, whose probabilities can be written down, and a space for it."""

import torch

from netwright.generators.base import Generator
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import SearchSpace, one_edit


class Independent(Generator):
    """Fixed edges, and an independent categorical operation for each node."""

    def __init__(self, layout, *, rng, spread=0.1):
        super().__init__()
        self.layout = layout
        shape = (layout.max_nodes, layout.num_ops)
        self.logits = torch.nn.Parameter(spread * torch.randn(shape, generator=rng))

    def sample(self, n, *, rng):
        p = self.logits.detach().softmax(dim=1)
        ops = torch.multinomial(p, n, replacement=True, generator=rng).T if n else None
        return self.chains(ops) if n else ArchitectureBatch.empty(self.layout.max_nodes)

    def chains(self, ops):
        nodes = self.layout.max_nodes
        adj = self.layout.forced.expand(len(ops), nodes, nodes)
        return ArchitectureBatch(ops.contiguous(), adj, torch.full((len(ops),), nodes))

    def log_prob(self, archs):
        every = torch.arange(self.layout.max_nodes)
        return self.logits.log_softmax(dim=1)[every, archs.ops].sum(dim=1)


class Stuck(Independent):
    """Always the same graph, with a likelihood of 1: a collapsed generator."""

    def sample(self, n, *, rng):
        del rng
        return self.chains(torch.zeros(n, self.layout.max_nodes, dtype=torch.long))


class Invalid(Independent):
    """Nothing but graphs without edges, which no chain space allows."""

    def sample(self, n, *, rng):
        archs = super().sample(n, rng=rng)
        return ArchitectureBatch(archs.ops, torch.zeros_like(archs.adj), archs.num_nodes)


class Chains(SearchSpace):
    """Chains of ``nodes`` nodes; not enumerable. Operation 2 is just another name for 1."""

    name = "chains"
    op_names = ("a", "b", "c")

    def __init__(self, nodes):
        edges = [(i, i + 1) for i in range(nodes - 1)]
        self.layout = Layout.make(nodes, 3, edges=edges)

    def sample(self, n, *, rng):
        ops = torch.randint(3, (n, self.layout.max_nodes), generator=rng)
        return self.simplify(Independent.chains(self, ops))

    def simplify(self, archs):
        return ArchitectureBatch(archs.ops.clamp(max=1), archs.adj, archs.num_nodes)

    def neighbours(self, arch):
        return one_edit(arch, self.layout)

    def to_text(self, archs):
        return ["".join(self.op_names[op] for op in row) for row in archs.ops.tolist()]

    def from_text(self, texts):
        ops = [[self.op_names.index(name) for name in text] for text in texts]
        return Independent.chains(self, torch.tensor(ops))
