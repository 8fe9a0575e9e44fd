r"""The generator of GNN2GNN: a complete DAG becomes an architecture ([GNN2GNN] section 3.2.1).

Random node features pass $\mu$ graph convolutions on the complete DAG; a score of each edge is
drawn from by Gumbel-softmax; a last convolution on the drawn edges gives the operations; what lies
on no path from input to output is removed. It is trained by `netwright.generators.adversarial`.

What the paper leaves open, and what its released code does (``variant = "released"``):

* Node features are normal variables; released: uniform on [0, 1).
* An edge's score is a linear layer of its two ends' features, normalised by the logistic
  function. Released: two such scores, each a softmax over the edges into a node plus 0.5, from
  which Gumbel-softmax draws. The target's part cancels in the softmax, and probabilities stay
  within .27 and .73.
* Edges not drawn count 0.001 in the last convolution (released), so that they are felt.
* ``edge_bound`` and ``op_bound`` hold logits within a bound by ``bound tanh(x / bound)``; without
  (paper), Adam can saturate them while only the discriminator is heeded.
"""

from collections.abc import Sequence
from typing import Literal, final

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

Variant = Literal["paper", "released"]

#: What an edge that was not drawn counts in the last convolution.
_FAINT = 1e-3


@final
class GNN2GNN(Generator):
    r"""Architectures from noise, by graph convolutions.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        rng: Initialises the parameters.
        hidden: Size of node features, the random ones included.
        layers: Graph convolutions on the complete DAG, the paper's $\mu$.
        tau: Temperature of Gumbel-softmax.
        variant: "paper" or "released": see above.
        edge_bound: Largest size of an edge's logit; None for no bound.
        op_bound: Largest size of an operation's logit; None for no bound.

    Raises:
        ValueError: If a size, ``tau`` or a bound is not positive.
    """

    limits: Tensor
    tau: Tensor
    spread: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        rng: torch.Generator,
        hidden: int = 100,
        layers: int = 2,
        tau: float = 0.1,
        variant: Variant = "paper",
        edge_bound: float | None = None,
        op_bound: float | None = None,
    ) -> None:
        super().__init__()
        if hidden < 1 or layers < 0:
            raise ValueError(f"hidden must be at least 1 and layers 0: {hidden=}, {layers=}")
        for name, value in (("tau", tau), ("edge_bound", edge_bound), ("op_bound", op_bound)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        if variant not in ("paper", "released"):
            raise ValueError(f"unknown variant {variant!r}: use 'paper' or 'released'")
        self.layout, self.hidden, self.variant = layout, hidden, variant
        self.edge_bound, self.op_bound = edge_bound, op_bound
        scores = 2 if variant == "paper" else 4  # of a source and a target, per channel
        with scoped(rng):
            self.convolutions = nn.ModuleList(
                [ReplicaLinear(hidden, hidden) for _ in range(layers)]
            )
            self.edge_scorer = ReplicaLinear(hidden, scores)
            self.edge_bias = nn.Parameter(torch.zeros(1, scores // 2))
            self.operations = ReplicaLinear(hidden, layout.num_ops, bias=False)
            self.operation_bias = nn.Parameter(torch.zeros(1, layout.num_ops))
        size = layout.max_nodes
        degree = torch.arange(1, size + 1).float()  # with itself
        spread = torch.ones(size, size).tril() / (degree[:, None] * degree).sqrt()
        self.register_buffer("spread", spread, persistent=False)
        self.register_buffer("limits", op_limits(layout), persistent=False)
        self.register_buffer("tau", torch.full((1,), tau))

    @property
    def replicas(self) -> int:
        """How many models its parameters stand for."""
        return len(self.edge_bias)

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
        layout, size, device = self.layout, self.layout.max_nodes, self.edge_bias.device
        shape = (len(rngs), n, size)
        features = self._noise(rngs, n).flatten(1, 2)
        for convolution in self.convolutions:  # 1. graph convolution
            spread = torch.matmul(self.spread, features.view(*shape, -1))
            features = convolution(spread.flatten(1, 2)).relu()
        tau = self.tau.view(-1, 1, 1, 1)
        noise = uniform(rngs, n, size, size + layout.num_ops, device=device)
        edge_logits = self._edge_logits(features.view(*shape, -1)) / temperature  # 2. edges
        adj = draw_edges(edge_logits, noise[..., :size], tau, layout)
        value = self.operations(features).view(*shape, -1)  # 3. operations
        op_logits = self._op_logits(value, adj) / temperature + self.limits
        ops = draw_ops(op_logits, noise[..., size:], tau)
        nats = choice_entropy(edge_logits, op_logits, layout) if entropy else None
        return refined(ops, adj, layout, nats)  # 4. refinement

    def sample(
        self, n: int, *, rng: torch.Generator, temperature: float = 1.0
    ) -> ArchitectureBatch:
        """Draw ``n`` refined graphs; see `netwright.generators.relaxed.sample`."""
        return sample(self, n, rng=rng, temperature=temperature)

    def _noise(
        self, rngs: Sequence[torch.Generator], n: int
    ) -> Float[Tensor, "replica batch node hidden"]:
        shape, device = (n, self.layout.max_nodes, self.hidden), self.edge_bias.device
        if self.variant == "released":
            return uniform(rngs, *shape, device=device)
        return torch.stack([torch.randn(shape, generator=rng) for rng in rngs]).to(device)

    def _edge_logits(
        self, features: Float[Tensor, "replica batch node hidden"]
    ) -> Float[Tensor, "replica batch node node"]:
        """Score each pair of nodes by a linear layer of both nodes' features."""
        replicas, batch, size, _ = features.shape
        ends = self.edge_scorer(features.flatten(1, 2)).view(replicas, batch, size, 2, -1)
        if self.variant == "paper":
            pair = ends[..., :, None, 0, 0] + ends[..., None, :, 1, 0]
            return bounded(pair + self.edge_bias[:, None, None], self.edge_bound)
        pair = (
            ends[..., :, None, 0, :]
            + ends[..., None, :, 1, :]
            + self.edge_bias[:, None, None, None]
        )
        before = torch.ones(size, size, dtype=torch.bool, device=pair.device).triu(diagonal=1)
        before[0, 0] = True  # a softmax over nothing is NaN; the first node has no edge to it
        share: Tensor = pair.masked_fill(~before[..., None], -torch.inf).softmax(dim=2)
        return share[..., 1] - share[..., 0]  # both plus 0.5, which cancels

    def _op_logits(
        self,
        value: Float[Tensor, "replica batch node op"],
        adj: Float[Tensor, "replica batch node node"],
    ) -> Float[Tensor, "replica batch node op"]:
        """Convolve on the drawn edges, each node with itself, normalised by both degrees."""
        upper = torch.ones_like(self.spread).triu(diagonal=1)
        weight = (adj + _FAINT) * upper + torch.eye(len(upper), device=upper.device)
        scale = weight.sum(dim=-2).rsqrt()[..., None]
        around = torch.matmul(weight.mT, value * scale) * scale
        return bounded(around + self.operation_bias[:, None, None], self.op_bound)
