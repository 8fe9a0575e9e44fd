r"""The recurrent peer of GNN2GNN: a graph grows node by node ([GNN2GNN] section 4.5).

As in the decoder of D-VAE [Zhang2019], a random vector gives the first state, and a graph begins
with its input. A step draws the operation of the next node from the state of the node before, then
its edges, then computes its state: a GRU's, whose input is the operation and whose hidden state is
the gated sum of its predecessors'. A graph stops at the operation that ends it, or is full. It is
trained by `netwright.generators.adversarial`, so that only the generator differs from GNN2GNN.

All nodes up to the last are computed for all graphs. In a graph that has stopped, the node that
ended it takes the last place, which no edge contradicts, and those after it have no edges, so that
refinement removes them. Whether a graph has stopped is a product of draws, so it has a gradient.

The paper gives no sizes; these are the released code's. Deviations from that, and from [Zhang2019]:

* All edges of a node are drawn together, by a perceptron that sees its operation, the state of the
  node before, and that of the edge's source. Published: one after the other from the newest source
  on, by one that sees the new node's state so far, which starts from nothing and follows each edge.
* That perceptron has ``2 hidden`` units, not 4.
* Scores are logits held within ``edge_bound`` and ``op_bound`` by ``bound tanh(x / bound)``, which
  is a logistic function scaled and shifted. Released: a logistic function, scaled and shifted by
  batch normalisation, with which a graph depends on the others of its batch. Without bounds
  (None, as in [Zhang2019]) draws saturate while only the discriminator is heeded.
* Edges have gradients, and so has the end. Released: only the operations.
* States are those of [Zhang2019], without the numbers of vertices. Released: a GRU that sees one
  operation only, then a graph convolution.
* Edges into the last node are drawn like all others, and what is on no path is removed as by
  GNN2GNN. Released: at the end, nodes without successor are joined to the last one, those without
  predecessor to the first.
* Graphs stop early only where the layout's graphs may have any size; else the last place ends them.
* Edges beyond ``max_edges`` are left out once all are drawn: states were computed with them.
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
from netwright.nn.propagation import gru
from netwright.nn.replicas import ReplicaLinear
from netwright.rng import scoped

#: Keeps the logarithm of a uniform number finite.
_TINY = 1e-20
#: Logit of an edge that is not to be drawn.
_NEVER = -1e4


@final
class RNNGAN(Generator):
    """Architectures from random vectors, node by node.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        rng: Initialises the parameters.
        latent_size: Size of the random vector.
        hidden: Size of a node's state; the perceptrons have twice as many hidden units.
        tau: Temperature of Gumbel-softmax.
        edge_bound: Largest size of an edge's logit; None for no bound.
        op_bound: Largest size of an operation's logit; None for no bound.

    Attributes:
        stops: Whether graphs may stop before the layout's last node.

    Raises:
        ValueError: If a size, ``tau`` or a bound is not positive.
    """

    limits: Tensor
    tau: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        rng: torch.Generator,
        latent_size: int = 256,
        hidden: int = 100,
        tau: float = 0.1,
        edge_bound: float | None = 2.0,
        op_bound: float | None = 3.0,
    ) -> None:
        super().__init__()
        if min(latent_size, hidden) < 1:
            raise ValueError(f"sizes must be at least 1: {latent_size=}, {hidden=}")
        for name, value in (("tau", tau), ("edge_bound", edge_bound), ("op_bound", op_bound)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        self.layout, self.latent_size, self.hidden = layout, latent_size, hidden
        self.edge_bound, self.op_bound = edge_bound, op_bound
        with scoped(rng):
            self.start = ReplicaLinear(latent_size, hidden)
            self.read = ReplicaLinear(hidden, 8 * hidden)
            self.given = ReplicaLinear(layout.num_ops, 5 * hidden)
            self.recur = ReplicaLinear(hidden, 3 * hidden)
            self.op_out = ReplicaLinear(2 * hidden, layout.num_ops)
            self.edge_out = ReplicaLinear(2 * hidden, 1)
        # What is read of a state: for the next operation, for its node's edges, for edges from
        # here, gate and message. What an operation gives: input of the GRU, for its node's edges.
        self._read = [2 * hidden, 2 * hidden, 2 * hidden, hidden, hidden]
        self._given = [3 * hidden, 2 * hidden]
        limits, size = op_limits(layout), layout.max_nodes
        blank = refined(torch.zeros(1, 1, *limits.shape), torch.zeros(1, 1, size, size), layout)
        self.stops = not bool(blank.real.all())  # where refinement removes nodes, they may end it
        if self.stops:
            limits[1:-1, layout.end_op] = 0
        self.register_buffer("limits", limits, persistent=False)
        self.register_buffer("tau", torch.full((1,), tau))

    @property
    def replicas(self) -> int:
        """How many models its parameters stand for."""
        return len(self.tau)

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
        layout, size, device = self.layout, self.layout.max_nodes, self.tau.device
        latent = torch.stack([torch.randn(n, self.latent_size, generator=rng) for rng in rngs])
        noise = uniform(rngs, n, size, size + layout.num_ops, device=device)
        logistic = (noise[..., :size] + _TINY).log() - torch.log1p(-noise[..., :size])
        tau = self.tau.view(-1, 1, 1, 1)
        state = self.start(latent.to(device)).tanh()
        ops: list[Tensor] = []
        op_logits: list[Tensor] = []
        edge_logits = [state.new_zeros(len(rngs), n, 0)]  # into each node
        columns = [edge_logits[0]]  # of the adjacency matrix
        messages: list[Tensor] = []
        sources: list[Tensor] = []
        for_op, for_edges, *_ = self.read(state).split(self._read, dim=-1)
        for v in range(size):
            scores = bounded(self.op_out(for_op.relu()), self.op_bound)
            op_logits.append(scores / temperature + self.limits[v])
            chosen = draw_ops(op_logits[v][:, :, None], noise[:, :, v : v + 1, size:], tau)
            ops.append(chosen[:, :, 0])
            given, of_op = self.given(ops[v]).split(self._given, dim=-1)
            if v:
                edge_logits.append(self._edge_logits(sources, for_edges + of_op) / temperature)
                columns.append(self._column(edge_logits[v] + logistic[:, :, :v, v], tau[..., 0]))
                state = torch.matmul(columns[v][:, :, None], torch.stack(messages, 2))[:, :, 0]
            if v < size - 1:  # nothing follows the last
                state = self._next(state, given)
                for_op, for_edges, source, gate, message = self.read(state).split(
                    self._read, dim=-1
                )
                messages.append(gate.sigmoid() * message)
                sources.append(source)
        drawn, scores = torch.stack(ops, dim=2), torch.stack(op_logits, dim=2)
        adj, pairs = _matrix(columns), _matrix(edge_logits)
        margin = pairs.detach() + logistic
        if self.stops:
            there = self._there(ops)
            drawn, adj = _stopped(drawn, adj, there)
            _, margin = _stopped(drawn.detach(), margin, there.detach())
            made = there[..., :-1] > 0.5
            scores = torch.where(made[..., None], scores, self.limits[-1])
            pairs = pairs.masked_fill(~made[:, :, None], _NEVER)
        if layout.max_edges is not None:
            margin = margin.masked_fill(adj.detach() < 0.5, _NEVER)
            within = draw_edges(margin, torch.full_like(margin, 0.5), tau, layout)
            adj = adj + (within - adj).detach()
        nats = choice_entropy(pairs, scores, layout) if entropy else None
        return refined(drawn, adj, layout, nats)

    def sample(
        self, n: int, *, rng: torch.Generator, temperature: float = 1.0
    ) -> ArchitectureBatch:
        """Draw ``n`` refined graphs; see `netwright.generators.relaxed.sample`."""
        return sample(self, n, rng=rng, temperature=temperature)

    def _edge_logits(
        self,
        sources: Sequence[Float[Tensor, "replica batch unit"]],
        target: Float[Tensor, "replica batch unit"],
    ) -> Float[Tensor, "replica batch source"]:
        """Score the edges into a node, given the perceptron's first layer of either end."""
        ends = (torch.stack(list(sources), dim=2) + target[:, :, None]).relu()
        logits = self.edge_out(ends.flatten(1, 2)).view(*ends.shape[:3])
        return bounded(logits, self.edge_bound)

    def _column(
        self, noisy: Float[Tensor, "replica batch source"], tau: Float[Tensor, "#replica 1 1"]
    ) -> Float[Tensor, "replica batch source"]:
        """Draw the edges into a node, with the gradient of Gumbel-softmax; see `draw_edges`."""
        v = noisy.shape[-1]
        free = self.layout.free[:v, v].to(noisy)
        forced = self.layout.forced[:v, v].to(noisy)
        soft = (noisy / tau).sigmoid()
        return ((noisy > 0).to(noisy) + (soft - soft.detach())) * free + forced

    def _next(
        self,
        before: Float[Tensor, "replica batch hidden"],
        given: Float[Tensor, "replica batch gates"],
    ) -> Float[Tensor, "replica batch hidden"]:
        """Compute a node's state from what is before it and its operation."""
        state = gru(before.flatten(0, 1), given.flatten(0, 1), self.recur(before).flatten(0, 1))
        return state.view_as(before)

    def _there(
        self, ops: Sequence[Float[Tensor, "replica batch op"]]
    ) -> Float[Tensor, "replica batch place"]:
        """Tell for each node, and one after the last, whether its graph goes on until there."""
        there = [torch.ones_like(ops[0][..., 0])]
        for op in ops:
            there.append(there[-1] * (1 - op[..., self.layout.end_op]))
        return torch.stack(there, dim=2)


def _stopped(
    ops: Float[Tensor, "replica batch node op"],
    adj: Float[Tensor, "replica batch node node"],
    there: Float[Tensor, "replica batch place"],
) -> tuple[Float[Tensor, "replica batch node op"], Float[Tensor, "replica batch node node"]]:
    """Move the node that ends a graph to the last place, and clear what is after it.

    Args:
        ops: One-hot operations; the last node's is always the one that ends graphs.
        adj: A number for each edge ``i -> j``.
        there: See `RNNGAN`.
    """
    inner = there[..., 1:]  # neither the end nor after it
    end = there[..., :-1] - inner
    into_end = (adj * end[:, :, None]).sum(dim=3, keepdim=True)
    adj = adj * inner[..., None] * inner[:, :, None]
    kept = torch.cat([inner[..., :-1], torch.ones_like(inner[..., :1])], dim=2)
    return ops * kept[..., None], torch.cat([adj[..., :-1], into_end], dim=3)


def _matrix(
    columns: Sequence[Float[Tensor, "replica batch _"]],
) -> Float[Tensor, "replica batch node node"]:
    """Join columns, each of which stops above the diagonal."""
    size = len(columns)
    padded = [nn.functional.pad(column, (0, size - column.shape[-1])) for column in columns]
    return torch.stack(padded, dim=3)
