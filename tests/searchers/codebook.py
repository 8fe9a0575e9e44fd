"""A latent space that is known exactly, and a space whose best member is known."""

import torch
from torch import nn

from netwright.generators.base import Generator, insist_complete, insist_latent
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.spaces.base import SearchSpace, one_edit


class Words(SearchSpace):
    """Chains of ``nodes`` nodes, each one of ``ops`` operations, all of which can be listed."""

    name = "words"

    def __init__(self, nodes=4, ops=6):
        self.op_names = tuple(map(str, range(ops)))
        self.layout = Layout.make(nodes, ops, edges=[(i, i + 1) for i in range(nodes - 1)])
        self.size = ops**nodes

    def of(self, ops):
        n, nodes = ops.shape
        return ArchitectureBatch(
            ops, self.layout.forced.repeat(n, 1, 1), torch.full((n,), nodes, dtype=torch.long)
        )

    def sample(self, n, *, rng):
        nodes, ops = self.layout.max_nodes, self.layout.num_ops
        return self.of(torch.randint(ops, (n, nodes), generator=rng))

    def enumerate(self):
        every = torch.arange(self.layout.num_ops)
        return self.of(torch.cartesian_prod(*[every] * self.layout.max_nodes))

    def neighbours(self, arch):
        return one_edit(arch, self.layout)

    def to_text(self, archs):
        return ["-".join(map(str, row)) for row in archs.ops.tolist()]

    def from_text(self, texts):
        return self.of(torch.tensor([[int(word) for word in text.split("-")] for text in texts]))


class Codebook(Generator):
    """A generator of listed graphs, each with a code; it decodes to what is near.

    At z the graph with code c is drawn with a probability proportional to
    exp(-|z - c|^2 / temperature), unless the draw is spoilt.

    Args:
        layout: Of the graphs.
        archs: The graphs.
        codes: One for each.
        temperature: See above.
        spoilt: Probability that a draw is a graph without edges, as a function of points.
    """

    any_size = False

    def __init__(self, layout, archs, codes, *, temperature=0.05, spoilt=None):
        super().__init__()
        self.layout, self.archs, self.latent_size = layout, archs, codes.shape[1]
        self.codes = nn.Parameter(codes)
        self.temperature, self.spoilt = temperature, spoilt
        self.row = {tuple(key): i for i, key in enumerate(hashing.keys(archs).tolist())}

    def rows(self, archs):
        keys = hashing.keys(insist_complete(archs, self.layout)).tolist()
        return torch.tensor([self.row[tuple(key)] for key in keys], dtype=torch.long)

    def logits(self, latent):
        gap = (latent[:, None] - self.codes).square().sum(dim=2)
        return (-gap / self.temperature).log_softmax(dim=1)

    def loss(self, archs, *, rng):
        del rng
        rows = self.rows(archs)
        return -self.logits(self.codes[rows])[torch.arange(len(rows)), rows].mean()

    def encode(self, archs):
        mean = self.codes[self.rows(archs)]
        return mean, torch.full_like(mean, -10.0)

    def decode(self, latent, *, rng, mode=False):
        logits = self.logits(insist_latent(latent, self.latent_size).detach())
        if not len(latent):
            return self.archs[:0]
        if mode:
            return self.archs[logits.argmax(dim=1)]
        found = self.archs[torch.multinomial(logits.exp(), 1, generator=rng)[:, 0]]
        if self.spoilt is None:
            return found
        lost = torch.rand(len(latent), generator=rng) < self.spoilt(latent)
        return ArchitectureBatch(found.ops, found.adj & ~lost[:, None, None], found.num_nodes)

    def sample(self, n, *, rng):
        return self.decode(torch.randn(n, self.latent_size, generator=rng), rng=rng)


def codebook(space, **options):
    """Operations as coordinates, of unit standard deviation, turned at random."""
    archs, size = space.enumerate(), space.layout.max_nodes
    levels = archs.ops.float()
    levels = (levels - levels.mean(dim=0)) / levels.std(dim=0)
    turn = torch.linalg.qr(torch.randn(size, size, generator=stream(0, "turn")))[0]
    return Codebook(space.layout, archs, levels @ turn, **options)


def landscape(space, *, width=2.0):
    """A score that is smooth in the codes: exp(-|code - that of the best|^2 / width).

    The best member, whose score is 1, alternates between the two operations in the middle.
    """
    model = codebook(space)
    middle = (space.layout.num_ops - 1 + torch.arange(space.layout.max_nodes) % 2) // 2
    best = model.encode(space.of(middle[None]))[0].detach()

    def score(archs):
        return (-(model.encode(archs)[0].detach() - best).square().sum(dim=1) / width).exp()

    return score
