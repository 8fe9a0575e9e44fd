r"""The MolGAN-like peer of GNN2GNN: a whole graph from one random vector ([GNN2GNN] section 4.5).

A perceptron turns $z \sim N(0, I)$ into scores of all edges and features of all nodes at once, as
in [DeCao2018]; edges are drawn by Gumbel-softmax, a graph convolution on them gives the operations,
which are drawn likewise. It is trained by `netwright.generators.adversarial`, so that only the
generator differs from GNN2GNN.

The paper gives no sizes; these are the released code's. Deviations from that:

* Each pair of nodes has its own two scores. Released, matrices of all pairs, both orders and the
  diagonal included, are averaged with their transposes, and the part above the diagonal is used.
* Only draws that carry gradients drop scores and features out; a dropped pair of scores is a fair
  coin. What is sampled later is the model without dropout.
* ``edge_bound`` and ``op_bound`` hold logits within a bound by ``bound tanh(x / bound)``; released:
  none.
* What the layout fixes is not drawn; released, the first and the last node are set afterwards.
"""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.generators.base import Generator
from netwright.generators.relaxed import (
    Relaxed,
    bounded,
    choice_entropy,
    draw_edges,
    draw_ops,
    op_limits,
    refined,
    sample,
    uniform,
)
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.replicas import ReplicaLinear
from netwright.rng import scoped


@final
class MolGAN(Generator):
    """Architectures from random vectors, all nodes and edges at once [DeCao2018].

    The sizes are those of the released code of [GNN2GNN]: 256 random numbers, a perceptron of
    128, 256 and 512 units with tanh, from which come two scores of each pair of nodes and 256
    features of each node.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        rng: Initialises the parameters.
        latent_size: Size of the random vector.
        widths: Sizes of the perceptron's layers.
        features: Size of node features.
        tau: Temperature of Gumbel-softmax.
        dropout: Share of scores and features that is dropped in training.
        edge_bound: Largest size of an edge's logit; None for no bound.
        op_bound: Largest size of an operation's logit; None for no bound.

    Raises:
        ValueError: If a size, ``tau`` or a bound is not positive, or ``dropout`` is no share.
    """

    limits: Tensor
    tau: Tensor
    pairs: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        rng: torch.Generator,
        latent_size: int = 256,
        widths: Sequence[int] = (128, 256, 512),
        features: int = 256,
        tau: float = 0.1,
        dropout: float = 0.2,
        edge_bound: float | None = None,
        op_bound: float | None = None,
    ) -> None:
        super().__init__()
        if not widths or min(latent_size, features, *widths) < 1:
            raise ValueError(
                f"sizes must be at least 1, and widths one or more: {latent_size=}, {widths=}, "
                f"{features=}"
            )
        for name, value in (("tau", tau), ("edge_bound", edge_bound), ("op_bound", op_bound)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {dropout}")
        self.layout, self.latent_size, self.dropout = layout, latent_size, dropout
        self.edge_bound, self.op_bound = edge_bound, op_bound
        size = layout.max_nodes
        pairs = torch.ones(size, size).triu(diagonal=1).flatten().nonzero()[:, 0]
        with scoped(rng):
            sizes = [latent_size, *widths]
            self.layers = nn.ModuleList(
                [ReplicaLinear(before, after) for before, after in zip(sizes, widths, strict=False)]
            )
            self.edges = ReplicaLinear(widths[-1], 2 * len(pairs))
            self.nodes = ReplicaLinear(widths[-1], size * features)
            self.operations = ReplicaLinear(features, layout.num_ops, bias=False)
            self.operation_bias = nn.Parameter(torch.zeros(1, layout.num_ops))
        self.register_buffer("pairs", pairs, persistent=False)  # in the flat adjacency matrix
        self.register_buffer("limits", op_limits(layout), persistent=False)
        self.register_buffer("tau", torch.full((1,), tau))

    @property
    def replicas(self) -> int:
        """How many models its parameters stand for."""
        return len(self.operation_bias)

    def draw(
        self,
        n: int,
        *,
        rngs: Sequence[torch.Generator],
        temperature: float = 1.0,
        entropy: bool = False,
    ) -> Relaxed:
        """Draw ``n`` refined graphs with each replica; see `Differentiable`."""
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        layout, size, device = self.layout, self.layout.max_nodes, self.operation_bias.device
        latent = [torch.randn(n, self.latent_size, generator=rng) for rng in rngs]
        hidden = torch.stack(latent).to(device)
        for layer in self.layers:
            hidden = layer(hidden).tanh()
        tau = self.tau.view(-1, 1, 1, 1)
        noise = uniform(rngs, n, size, size + layout.num_ops, device=device)
        scores = self._dropped(self.edges(hidden), rngs)
        edge_logits = self._edge_logits(scores) / temperature
        adj = draw_edges(edge_logits, noise[..., :size], tau, layout)
        features = self._dropped(self.nodes(hidden), rngs)
        value = self.operations(features.view(len(rngs), n * size, -1))
        op_logits = self._op_logits(value.view(len(rngs), n, size, -1), adj)
        op_logits = op_logits / temperature + self.limits
        ops = draw_ops(op_logits, noise[..., size:], tau)
        nats = choice_entropy(edge_logits, op_logits, layout) if entropy else None
        return refined(ops, adj, layout, nats)

    def sample(
        self, n: int, *, rng: torch.Generator, temperature: float = 1.0
    ) -> ArchitectureBatch:
        """Draw ``n`` refined graphs; see `netwright.generators.relaxed.sample`."""
        return sample(self, n, rng=rng, temperature=temperature)

    def _dropped(
        self, x: Float[Tensor, "replica batch width"], rngs: Sequence[torch.Generator]
    ) -> Float[Tensor, "replica batch width"]:
        """Drop some values out, if the draw is to be learned from."""
        if not (self.training and self.dropout and x.requires_grad):
            return x
        kept = uniform(rngs, *x.shape[1:], device=x.device) >= self.dropout
        return x * (kept / (1 - self.dropout))

    def _edge_logits(
        self, scores: Float[Tensor, "replica batch score"]
    ) -> Float[Tensor, "replica batch node node"]:
        """Return how much higher each pair of nodes scores with an edge than without."""
        replicas, batch, _ = scores.shape
        size = self.layout.max_nodes
        without, joined = scores.chunk(2, dim=-1)
        logits = bounded(joined - without, self.edge_bound)
        flat = logits.new_zeros(replicas, batch, size * size)
        return flat.index_copy(2, self.pairs, logits).view(replicas, batch, size, size)

    def _op_logits(
        self,
        value: Float[Tensor, "replica batch node op"],
        adj: Float[Tensor, "replica batch node node"],
    ) -> Float[Tensor, "replica batch node op"]:
        """Convolve on the drawn edges, each node with itself [Kipf2017]."""
        weight = adj + torch.eye(adj.shape[-1], device=adj.device)
        scale = weight.sum(dim=-2).rsqrt()[..., None]
        around = torch.matmul(weight.mT, value * scale) * scale
        return bounded(around + self.operation_bias[:, None, None], self.op_bound)
