r"""The recurrent controller of NAS and ENAS, with exact likelihood ([Zoph2017], [Pham2018]).

An LSTM writes an architecture down node by node, in two steps for each. The first decides the
node's operation, by a softmax. The second decides its incoming edges, each by itself: the state
$h_v$ that it leaves is compared with those of earlier nodes, the anchors ([Zoph2017] section 3.3),

$$ P(u \to v) = \sigma(2 f(w^T \tanh(W_\text{earlier} h_u + W_\text{new} h_v))). $$

What was decided is the input of the next step: the embedding of the operation, and the mean of the
chosen anchors. This is the RNN that [GraphPNAS] compares itself with in sections 4.1 to 4.3.

As in ENAS's released code:

* A score x of an operation or an edge is taken as $f(x) = c \tanh(x / T)$ with a constant c = 2.5
  and a temperature T = 5. The 2 above is that of a softmax of x and -x, no edge.
* No layer has a bias, and all parameters begin within 0.1.
* The mean of k anchors is their sum over k + 1; at the first node, which has none, the vector that
  starts the sequence takes its place.

Beyond ENAS, edges that the layout forces count among the chosen, a layout with no edge to decide
has no second steps, and a variable number of nodes comes from the operation that ends a graph.
"""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from netwright.generators.base import Generator, complete
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.replicas import ReplicaLinear, uniform
from netwright.rng import child, scoped

#: Parameters begin uniform between this and its negative.
_START = 0.1
#: Output and memory of every layer of the LSTM.
_State = list[tuple[Tensor, Tensor]]


@final
class Recurrent(Generator):
    r"""The controller of ENAS, in its sizes.

    A graph is complete at the first node whose operation is ``layout.end_op``, or at
    ``layout.max_nodes`` nodes. Forced edges have probability 1 and forbidden ones 0; operations
    that a position does not allow have probability 0.

    Parameters have a leading axis ``replica`` of length 1. With longer ones, as
    ``torch.func.functional_call`` puts them in, `log_prob` is that of several generators side by
    side, each with an equal share of the graphs, in order.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        hidden: Size of the LSTM's states and of embeddings.
        layers: Layers of the LSTM: 1 in ENAS, 2 in [Zoph2017].
        tanh_constant: Largest size of a score; None for no bound.
        softmax_temperature: Divides all scores first; None for 1.
        rng: Draws the initial parameters.

    Raises:
        ValueError: If a size, ``tanh_constant`` or ``softmax_temperature`` is not positive.
    """

    #: Tells `netwright.searchers.policy_gradient` that replicas can be trained side by side.
    stackable = True

    def __init__(
        self,
        layout: Layout,
        *,
        hidden: int = 100,
        layers: int = 1,
        tanh_constant: float | None = 2.5,
        softmax_temperature: float | None = 5.0,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        if min(hidden, layers) < 1:
            raise ValueError(f"sizes must be at least 1: {hidden=}, {layers=}")
        limits = {"tanh_constant": tanh_constant, "softmax_temperature": softmax_temperature}
        for name, value in limits.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0 (None for none), not {value}")
        self.layout, self.hidden = layout, hidden
        self.tanh_constant, self.softmax_temperature = tanh_constant, softmax_temperature
        self.register_buffer("allowed_ops", layout.allowed_ops.clone(), persistent=False)
        self.register_buffer("free", layout.free.clone(), persistent=False)
        self.register_buffer("forced", layout.forced.clone(), persistent=False)
        self.register_buffer("pairs", layout.free.nonzero().T.contiguous(), persistent=False)
        self.allowed_ops: Tensor
        self.free: Tensor
        self.forced: Tensor
        self.pairs: Tensor  # those to be decided: sources, targets
        self._decides_edges = bool(layout.free.any())
        with scoped(rng), torch.no_grad():
            self.start = uniform(hidden, fan_in=hidden)
            self.embedding = uniform(layout.num_ops, hidden, fan_in=hidden)
            self.lstm = nn.ModuleList(
                ReplicaLinear(2 * hidden, 4 * hidden, bias=False) for _ in range(layers)
            )
            self.op_head = ReplicaLinear(hidden, layout.num_ops, bias=False)
            if self._decides_edges:
                self.ends = ReplicaLinear(hidden, 2 * hidden, bias=False)  # W_earlier, W_new
                self.edge_head = ReplicaLinear(hidden, 1, bias=False)
            for parameter in self.parameters():
                parameter.uniform_(-_START, _START)

    def log_prob(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        r"""Return $\log p_\theta(G)$ of labelled graphs in their given node order, in nats.

        The LSTM reads all graphs at once, each fed its own past. Minus infinity for graphs that
        are not complete graphs of the layout; the gradient of the others stays finite.
        """
        return self.log_prob_parts(archs).sum(dim=1)

    def forward(self, archs: ArchitectureBatch) -> Float[Tensor, "batch 2"]:
        """Return `log_prob_parts`, so that `torch.func` can call it with other parameters."""
        return self.log_prob_parts(archs)

    def log_prob_parts(self, archs: ArchitectureBatch) -> Float[Tensor, "batch 2"]:
        """Return the share of the edges and the share of the operations in `log_prob`.

        Raises:
            ValueError: If the graphs cannot be shared equally among the replicas.
        """
        replicas, size = len(self.start), self.layout.max_nodes
        share, left = divmod(len(archs), replicas)
        if left:
            raise ValueError(f"{len(archs)} graphs for {replicas} replicas: not equally many")
        inside = complete(archs, self.layout)
        count = archs.num_nodes.clamp(max=size)
        archs = ArchitectureBatch.masked(archs.ops, archs.adj, count).pad(size)
        ops = archs.ops.clamp(0, self.layout.num_ops - 1)  # those of graphs outside may be any
        of_ops, of_edges = self._read(
            ops.view(replicas, share, size), archs.adj.view(replicas, share, size, size)
        )
        logits = self._op_logits(of_ops, self.allowed_ops).flatten(0, 1)
        log_op = logits.log_softmax(dim=2).gather(2, ops[:, :, None])[:, :, 0]
        log_op = log_op.masked_fill(~archs.node_mask, 0.0).sum(dim=1)
        log_edges = torch.zeros_like(log_op)
        if of_edges is not None:
            sources, targets = self.pairs
            ends = self.ends(of_edges.flatten(1, 2)).view(*of_edges.shape[:3], 2 * self.hidden)
            earlier, new = ends.chunk(2, dim=3)
            logits = self._edge_logits(earlier[:, :, sources], new[:, :, targets]).flatten(0, 1)
            each = logsigmoid(torch.where(archs.adj[:, sources, targets], logits, -logits))
            log_edges = each.masked_fill(~archs.node_mask[:, targets], 0.0).sum(dim=1)
        return torch.stack([log_edges, log_op], dim=1).masked_fill(~inside[:, None], -torch.inf)

    @torch.no_grad()
    def sample(
        self, n: int, *, rng: torch.Generator, temperature: float = 1.0
    ) -> ArchitectureBatch:
        """Draw ``n`` graphs by ancestral sampling.

        Args:
            n: How many.
            rng: Source of all randomness.
            temperature: Divides all logits: below 1 sharper, above 1 flatter.

        Raises:
            ValueError: On a temperature that is not positive.
        """
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        device, size = self.free.device, self.layout.max_nodes
        draws = child(rng, device)
        ops = torch.zeros(n, size, dtype=torch.long, device=device)
        adj = torch.zeros(n, size, size, dtype=torch.bool, device=device)
        num_nodes = torch.full((n,), size, device=device)
        alive = torch.arange(n, device=device)
        given, state = self._begin(n)
        anchors: list[Tensor] = []
        earlier: list[Tensor] = []  # what `ends` makes of them
        for v in range(size if n else 0):
            state = self._step(given, state)
            logits = self._op_logits(state[-1][0][:, :, None], self.allowed_ops[v : v + 1])
            chance = (logits[0, :, 0] / temperature).softmax(dim=1)
            op = torch.multinomial(chance, 1, generator=draws)[:, 0]
            ops[alive, v] = op
            given = self._embedded(op[None])
            column = self.forced[:v, v].expand(len(alive), v)
            if self._decides_edges:
                state = self._step(given, state)
                anchors.append(state[-1][0])
                of_earlier, of_new = self.ends(anchors[v]).chunk(2, dim=2)
                if v:
                    before = torch.stack(earlier, dim=2)
                    score = self._edge_logits(before, of_new[:, :, None])[0] / temperature
                    toss = torch.rand(
                        score.shape, generator=draws, dtype=score.dtype, device=device
                    )
                    column = column | ((toss < score.sigmoid()) & self.free[:v, v])
                earlier.append(of_earlier)
                given = self._chosen(anchors, column[None])
            adj[alive, :v, v] = column
            if self.layout.end_op is not None:
                ended = op == self.layout.end_op
                num_nodes[alive[ended]] = v + 1
                left = ~ended
                alive, given = alive[left], given[:, left]
                state = [(output[:, left], memory[:, left]) for output, memory in state]
                anchors, earlier = ([x[:, left] for x in seen] for seen in (anchors, earlier))
            if not len(alive):
                break
        return ArchitectureBatch(ops, adj, num_nodes)

    def _read(
        self,
        ops: Int[Tensor, "replica graph node"],
        adj: Bool[Tensor, "replica graph node node"],
    ) -> tuple[
        Float[Tensor, "replica graph node hidden"],
        Float[Tensor, "replica graph node hidden"] | None,
    ]:
        """Return the states that decide operations and those that decide edges, if any are."""
        told = self._embedded(ops.flatten(1, 2)).view(*ops.shape, self.hidden)
        given, state = self._begin(ops.shape[1])
        of_ops: list[Tensor] = []
        anchors: list[Tensor] = []
        for v in range(ops.shape[2]):
            state = self._step(given, state)
            of_ops.append(state[-1][0])
            given = told[:, :, v]
            if self._decides_edges:
                state = self._step(given, state)
                anchors.append(state[-1][0])
                given = self._chosen(anchors, adj[:, :, :v, v])
        return torch.stack(of_ops, dim=2), torch.stack(anchors, dim=2) if anchors else None

    def _begin(self, n: int) -> tuple[Float[Tensor, "replica graph hidden"], _State]:
        """Return what the first step is given, and the LSTM's state before it."""
        given = self.start[:, None].expand(-1, n, -1)
        zero = torch.zeros_like(given)
        return given, [(zero, zero)] * len(self.lstm)

    def _step(self, given: Float[Tensor, "replica graph hidden"], state: _State) -> _State:
        """Take all layers of the LSTM a step further."""
        after: _State = []
        for layer, (output, memory) in zip(self.lstm, state, strict=True):
            gates = layer(torch.cat([given, output], dim=2))
            let_in, keep, new, let_out = gates.chunk(4, dim=2)
            memory = keep.sigmoid() * memory + let_in.sigmoid() * new.tanh()
            given = let_out.sigmoid() * memory.tanh()
            after.append((given, memory))
        return after

    def _embedded(self, op: Int[Tensor, "replica some"]) -> Float[Tensor, "replica some hidden"]:
        owner = torch.arange(len(op), device=op.device) * self.layout.num_ops
        return nn.functional.embedding(op + owner[:, None], self.embedding.flatten(0, 1))

    def _chosen(
        self,
        anchors: Sequence[Float[Tensor, "replica graph hidden"]],
        column: Bool[Tensor, "replica graph source"],
    ) -> Float[Tensor, "replica graph hidden"]:
        """Return the mean of the anchors a node has edges from, what the next step is given."""
        replicas, graphs, sources = column.shape
        if not sources:
            return self.start[:, None].expand(-1, graphs, -1)
        weight = column.to(anchors[0].dtype)
        weight = weight / (1 + weight.sum(dim=2, keepdim=True))
        states = torch.stack(list(anchors[:sources]), dim=2).flatten(0, 1)
        mean = torch.bmm(weight.view(-1, 1, sources), states)
        return mean.view(replicas, graphs, self.hidden)

    def _op_logits(
        self,
        states: Float[Tensor, "replica graph node hidden"],
        allowed: Bool[Tensor, "node op"],
    ) -> Float[Tensor, "replica graph node op"]:
        """Score the operations of nodes, which may be fewer than a graph has."""
        scores = self.op_head(states.flatten(1, 2)).view(*states.shape[:3], allowed.shape[1])
        return self._limited(scores).masked_fill(~allowed, -torch.inf)

    def _edge_logits(
        self,
        earlier: Float[Tensor, "replica graph pair hidden"],
        new: Float[Tensor, "replica graph #pair hidden"],
    ) -> Float[Tensor, "replica graph pair"]:
        """Score edges, given what `ends` makes of the states of either end."""
        ends = (earlier + new).tanh()
        scores = self.edge_head(ends.flatten(1, 2)).view(ends.shape[:3])
        return 2 * self._limited(scores)

    def _limited(self, scores: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Divide scores by the temperature and hold them within the bound."""
        if self.softmax_temperature is not None:
            scores = scores / self.softmax_temperature
        return scores if self.tanh_constant is None else self.tanh_constant * scores.tanh()
