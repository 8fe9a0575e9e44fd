r"""D-VAE: a variational autoencoder of DAGs that reads and writes vertex by vertex ([Zhang2019]).

A vertex's state is a GRU's, whose input is the vertex's type and whose hidden state is the gated
sum over its predecessors; encoding simulates the computation that the DAG stands for. The decoder
draws a vertex's type from the state of the vertex before, then its edges from the newest
predecessor to the oldest, and updates its state after every edge.

Deviations from [Zhang2019] and its released code:

* Edges into the vertex that ends a graph are drawn like all others. Published, they follow a rule:
  at the end, every vertex without a successor is joined to the last. The loss scores those edges
  there too, but the decoder can then draw few of the graphs that a layout allows (on NAS-Bench-101,
  none where the input or an inner node feeds the output and another node). ``wire_ends = True`` is
  the published rule.
* What the layout fixes has probability 1 and is not scored; a type may be drawn for the first
  vertex too, from the state that the latent point gives, where a layout leaves it open. With a
  layout like `Layout.freed` with ``keep_ends``, everything is scored that the released code scores,
  but for the next.
* Graphs end: nothing is scored beyond their last vertex. The released code pads short graphs with
  vertices of the starting type and no edges, and scores those.
* The loss is a mean over graphs; released, a sum over the batch. The weight 0.005 of the KL term is
  per graph in both. For the released gradient, multiply by the batch size.
* There is no layer that nothing uses: released models count one of 502,503 parameters that unites
  two vertex states.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from netwright.generators.base import Generator, insist_complete, insist_latent
from netwright.generators.variational import divergence, perturbed
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.propagation import gru
from netwright.rng import child, scoped


class DVAE(Generator):
    r"""The autoencoder of [Zhang2019], in the sizes of its released code.

    Teacher forcing scores all decisions of all graphs together. A predecessor's gated state does
    not change once its vertex is finished, so it is computed once per vertex; a state that no edge
    changes is not computed again; the first layer of the edge head is split into what it sees of
    either end. Only the final states of vertices have to wait for each other.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        hidden: Size of a vertex's state.
        latent_size: Coordinates of a latent point.
        noise: Scale of the noise that training adds to the encoding.
        kl_weight: Weight of the KL term, per graph.
        wire_ends: Whether `decode` joins all vertices without successor to the last, as far as the
            layout permits, instead of drawing the last vertex's edges.
        rng: Draws the initial parameters.
    """

    any_size = False  # states are joined with the one-hot number of their vertex

    def __init__(
        self,
        layout: Layout,
        *,
        hidden: int = 501,
        latent_size: int = 56,
        noise: float = 0.01,
        kl_weight: float = 0.005,
        wire_ends: bool = False,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.layout, self.hidden, self.latent_size = layout, hidden, latent_size
        self.noise, self.kl_weight, self.wire_ends = noise, kl_weight, wire_ends
        self.register_buffer("allowed_ops", layout.allowed_ops.clone(), persistent=False)
        self.register_buffer("free", layout.free.clone(), persistent=False)
        self.register_buffer("forced", layout.forced.clone(), persistent=False)
        self.allowed_ops: Tensor
        self.free: Tensor
        self.forced: Tensor
        ops = layout.num_ops
        with scoped(rng):
            self.encoder_forward = nn.GRUCell(ops, hidden)
            self.encoder_backward = nn.GRUCell(ops, hidden)
            self.decoder = nn.GRUCell(ops, hidden)
            self.gate_forward = _Gate(hidden, layout.max_nodes)  # shared with the decoder
            self.gate_backward = _Gate(hidden, layout.max_nodes)
            self.unite = nn.Linear(2 * hidden, hidden)
            self.mean = nn.Linear(hidden, latent_size)
            self.log_variance = nn.Linear(hidden, latent_size)
            self.start = nn.Linear(latent_size, hidden)
            self.op_head = nn.Sequential(
                nn.Linear(hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, ops)
            )
            self.edge_in = nn.Linear(2 * hidden, 4 * hidden)
            self.edge_out = nn.Linear(4 * hidden, 1)
        self._one_op = (layout.allowed_ops.sum(dim=1) == 1).tolist()

    def encode(
        self, archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return mean and log-variance of the posterior ([Zhang2019] section 3.1).

        The state of the last vertex, and that of the first with all edges reversed, are the
        graph's.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        return self._encode(insist_complete(archs, self.layout))

    def loss(self, archs: ArchitectureBatch, *, rng: torch.Generator) -> Float[Tensor, ""]:
        r"""Return the mean of $-\log p(G | z) + 0.005\, \mathrm{KL}$, in nats, $z$ being drawn.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        archs = insist_complete(archs, self.layout)
        mean, log_variance = self._encode(archs)
        latent = perturbed(mean, log_variance, self.noise, rng=rng)
        kl = divergence(mean, log_variance).sum()
        nll = self._negative_log_likelihood(latent, archs)
        return (nll + self.kl_weight * kl) / max(len(archs), 1)

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Decode ``n`` points of the standard normal distribution."""
        latent = torch.randn(n, self.latent_size, generator=rng).to(self.start.weight)
        return self.decode(latent, rng=rng)

    @torch.no_grad()
    def decode(
        self, latent: Float[Tensor, "batch latent"], *, rng: torch.Generator, mode: bool = False
    ) -> ArchitectureBatch:
        """Draw one architecture at each latent point, or take the likeliest choices (``mode``).

        Raises:
            ValueError: If points do not have ``latent_size`` coordinates, or one is not finite.
        """
        state = torch.tanh(self.start(insist_latent(latent, self.latent_size)))
        return _Decoding(self, state, child(rng, state.device), mode).run()

    def _encode(
        self, archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """`encode`, of graphs padded to the layout's size."""
        size = self.layout.max_nodes
        adj = archs.adj.to(self.start.weight.dtype)
        zeros = self.start.weight.new_zeros(len(archs), self.hidden)
        up = list(range(size))
        down = up[::-1]
        along, _ = self._propagate(
            self.encoder_forward, self.gate_forward, archs.ops, adj, zeros, up
        )
        against, _ = self._propagate(
            self.encoder_backward, self.gate_backward, archs.ops, adj.mT, zeros, down
        )
        graph = torch.arange(len(archs), device=archs.device)
        last = torch.stack(along, dim=1)[graph, archs.num_nodes - 1]
        ends = torch.cat([last, against[-1]], dim=1)
        united = self.unite(ends)
        return self.mean(united), self.log_variance(united)

    def _propagate(
        self,
        cell: nn.GRUCell,
        gate: "_Gate",
        ops: Int[Tensor, "batch node"],
        adj: Float[Tensor, "batch node node"],
        start: Float[Tensor, "batch hidden"],
        order: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the states of all vertices in topological order ([Zhang2019] eq. 2 to 4).

        Args:
            cell: The update function $U$.
            gate: The aggregation function $A$.
            ops: Types of vertices.
            adj: 0/1 adjacency matrices.
            start: The hidden state that the first vertex is updated from.
            order: The vertices; those that nothing leads to yet are updated from zeros.

        Returns:
            States and, but for the last, gated states as successors sum them, in that order.
        """
        typed = nn.functional.linear(_eye(cell), cell.weight_ih, cell.bias_ih)
        # Taken apart once: the gradient of a slice is as large as the whole.
        of_type = nn.functional.embedding(ops, typed).unbind(1)
        recur, into = cell.weight_hh.T, adj.unbind(2)
        weights, numbers = gate.merged()
        states: list[Tensor] = []
        gated: list[Tensor] = []
        for v in order:
            total = start
            if gated:
                before = torch.stack(gated, dim=1)
                total = torch.bmm(into[v][:, None, order[: len(gated)]], before)[:, 0]  # eq. 3
            state = gru(total, of_type[v], torch.addmm(cell.bias_hh, total, recur))  # eq. 2
            states.append(state)
            if len(states) < len(order):  # nothing follows the last
                gated.append(_gated(state, weights, numbers[v]))
        return states, gated

    def _negative_log_likelihood(
        self, latent: Float[Tensor, "batch latent"], archs: ArchitectureBatch
    ) -> Float[Tensor, ""]:
        r"""Return $-\sum_G \log p(G | z)$, all decisions of all graphs at once."""
        start = torch.tanh(self.start(latent))
        adj = archs.adj.to(latent.dtype)
        up = list(range(self.layout.max_nodes))
        states, gated = self._propagate(self.decoder, self.gate_forward, archs.ops, adj, start, up)
        nll = self._ops_nll(start, states, archs)
        if gated:
            nll = nll + self._edges_nll(torch.stack(states, 1), torch.stack(gated, 1), archs)
        return nll

    def _ops_nll(
        self,
        start: Float[Tensor, "batch hidden"],
        states: list[Tensor],
        archs: ArchitectureBatch,
    ) -> Float[Tensor, ""]:
        """Return the share of the types: each is drawn from the state of the vertex before."""
        undecided = archs.node_mask & ~torch.tensor(self._one_op, device=archs.device)
        graph, vertex = undecided.nonzero(as_tuple=True)
        before = torch.stack([start, *states[:-1]], dim=1)[graph, vertex]
        logits = self._op_logits(before, vertex)
        return nn.functional.cross_entropy(logits, archs.ops[graph, vertex], reduction="sum")

    def _edges_nll(
        self,
        states: Float[Tensor, "batch node hidden"],
        gated: Float[Tensor, "batch source hidden"],
        archs: ArchitectureBatch,
    ) -> Float[Tensor, ""]:
        """Return the share of the edges: each is drawn from the new vertex's state at the time."""
        scored = archs.node_mask[:, None] & archs.node_mask[:, :, None] & self.free
        graph, source, target = scored.nonzero(as_tuple=True)
        if not len(graph):
            return states.new_zeros(())
        table, row = self._states_at(graph, source, target, states, gated, archs)
        # What the head sees of an end is computed once, however many decisions use it.
        size = self.layout.max_nodes
        ends, end = (graph * size + source).unique(return_inverse=True)
        news, new = row.unique(return_inverse=True)
        of_source, of_target = self.edge_in.weight.chunk(2, dim=1)
        left = nn.functional.linear(states.flatten(0, 1)[ends], of_source)
        right = nn.functional.linear(table[news], of_target, self.edge_in.bias)
        hidden = (left.index_select(0, end) + right.index_select(0, new)).relu_()
        logits = self.edge_out(hidden)[:, 0]
        truth = archs.adj[graph, source, target].to(logits.dtype)
        return nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="sum")

    def _states_at(
        self,
        graph: Int[Tensor, " decision"],
        source: Int[Tensor, " decision"],
        target: Int[Tensor, " decision"],
        states: Float[Tensor, "batch node hidden"],
        gated: Float[Tensor, "batch source hidden"],
        archs: ArchitectureBatch,
    ) -> tuple[Float[Tensor, "state hidden"], Int[Tensor, " decision"]]:
        """Return the state of the new vertex when each edge is decided, as rows of a table.

        It has seen the edges from vertices newer than the source. Those are none, so that its type
        tells the state; or all its edges, so that the state is final; or else the state is
        computed here, once for all decisions at which it has seen the same edges.
        """
        size, ops = self.layout.max_nodes, self.layout.num_ops
        place = torch.arange(size, device=graph.device)
        into = archs.adj[graph, :, target]
        seen = into & (place > source[:, None])
        some, all_ = seen.any(dim=1), ~(into & ~seen).any(dim=1)
        last = seen.long().argmax(dim=1)  # the oldest vertex that has been seen
        part = (some & ~all_).nonzero()[:, 0]
        code = (graph[part] * size + target[part]) * size + last[part]
        codes, which = code.unique(return_inverse=True)
        first = codes.new_empty(len(codes)).scatter_(0, which, part)
        total = torch.bmm(seen[first, None, :-1].to(gated.dtype), gated[graph[first]])[:, 0]
        kind = archs.ops[graph[first], target[first]]
        nothing = self._from_nothing()
        final = len(nothing) + graph * size + target
        row = torch.where(some, final, archs.ops[graph, target])
        row[part] = ops + len(archs) * size + which
        return torch.cat([nothing, states.flatten(0, 1), self._update(kind, total)]), row

    def _from_nothing(self) -> Float[Tensor, "op hidden"]:
        """Return the state of a new vertex of each type, before it has an edge."""
        kinds = torch.arange(self.layout.num_ops, device=self.free.device)
        return self._update(kinds, self.start.weight.new_zeros(len(kinds), self.hidden))

    def _update(
        self, ops: Int[Tensor, " row"], total: Float[Tensor, "row hidden"]
    ) -> Float[Tensor, "row hidden"]:
        """Return the decoder's states of vertices, given the sums over their predecessors."""
        cell = self.decoder
        typed = nn.functional.linear(_eye(cell), cell.weight_ih, cell.bias_ih)
        recurrent = nn.functional.linear(total, cell.weight_hh, cell.bias_hh)
        return gru(total, nn.functional.embedding(ops, typed), recurrent)

    def _op_logits(
        self, state: Float[Tensor, "row hidden"], vertex: Int[Tensor, " row"]
    ) -> Float[Tensor, "row op"]:
        """Return logits of the types of vertices, given the states of those before."""
        logits: Tensor = self.op_head(state)
        return logits.masked_fill(~self.allowed_ops[vertex], -torch.inf)


class _Gate(nn.Module):
    """The gated state that a vertex's successors sum ([Zhang2019] eq. 3 and 6)."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden + size, hidden)
        self.map = nn.Linear(hidden + size, hidden, bias=False)

    def merged(self) -> tuple[Float[Tensor, "hidden both"], Float[Tensor, "node both"]]:
        """Return what multiplies a state, and what the one-hot number of each vertex adds."""
        both = torch.cat([self.gate.weight, self.map.weight]).T
        size = both.shape[0] - both.shape[1] // 2
        offset = torch.cat([self.gate.bias, torch.zeros_like(self.gate.bias)])
        return both[:-size], both[-size:] + offset


def _gated(
    state: Float[Tensor, "row hidden"],
    weights: Float[Tensor, "hidden both"],
    number: Float[Tensor, " both"],
) -> Float[Tensor, "row hidden"]:
    """Return gated states, with what `_Gate.merged` returns."""
    gate, value = torch.addmm(number, state, weights).chunk(2, dim=1)
    return gate.sigmoid() * value


class _Decoding:
    """Drawing graphs vertex by vertex, all graphs that have not ended together."""

    def __init__(
        self, model: DVAE, start: Float[Tensor, "batch hidden"], draws: torch.Generator, mode: bool
    ) -> None:
        self.model, self.draws, self.mode = model, draws, mode
        n, size, device = len(start), model.layout.max_nodes, start.device
        self.start = start
        self.ops = torch.zeros(n, size, dtype=torch.long, device=device)
        self.adj = torch.zeros(n, size, size, dtype=torch.bool, device=device)
        self.num_nodes = torch.full((n,), size, device=device)
        self.state = start  # of the newest vertex
        self.gated = start.new_zeros(n, size, start.shape[1])
        self.left = start.new_zeros(n, size, 4 * start.shape[1])  # what the edge head sees

    def run(self) -> ArchitectureBatch:
        """Return the graphs."""
        model, end = self.model, self.model.layout.end_op
        weights, numbers = model.gate_forward.merged()
        of_source, _ = model.edge_in.weight.chunk(2, dim=1)
        alive = torch.arange(len(self.start), device=self.start.device)
        for v in range(model.layout.max_nodes):
            kind = self._kind(alive, v)
            self.ops[alive, v] = kind
            last = torch.full_like(alive, v == model.layout.max_nodes - 1, dtype=torch.bool)
            ended = last if end is None else last | (kind == end)
            state = self._vertex(alive, v, kind, ended)
            self.num_nodes[alive[ended]] = v + 1
            self.state[alive] = state
            alive = alive[~ended]
            if not len(alive):
                break
            state = self.state[alive]
            self.gated[alive, v] = _gated(state, weights, numbers[v])
            self.left[alive, v] = nn.functional.linear(state, of_source)
        return ArchitectureBatch(self.ops, self.adj, self.num_nodes)

    def _kind(self, alive: Int[Tensor, " graph"], v: int) -> Int[Tensor, " graph"]:
        """Draw the types of vertices ``v``."""
        logits = self.model._op_logits(self.state[alive], torch.full_like(alive, v))
        if self.mode or not len(alive):
            return logits.argmax(dim=1)
        return torch.multinomial(logits.softmax(dim=1), 1, generator=self.draws)[:, 0]

    def _vertex(
        self,
        alive: Int[Tensor, " graph"],
        v: int,
        kind: Int[Tensor, " graph"],
        ended: Bool[Tensor, " graph"],
    ) -> Float[Tensor, "graph hidden"]:
        """Draw the edges into vertices ``v``, newest source first; return their final states."""
        model = self.model
        if v == 0:
            return model._update(kind, self.start[alive])
        wired = ended & model.wire_ends
        loose = ~self.adj[alive].any(dim=2)
        total = self.start.new_zeros(len(alive), self.start.shape[1])
        state = model._from_nothing()[kind]
        _, of_target = model.edge_in.weight.chunk(2, dim=1)
        for u in range(v - 1, -1, -1):
            if model.free[u, v]:
                right = nn.functional.linear(state, of_target, model.edge_in.bias)
                logit = model.edge_out(torch.relu(self.left[alive, u] + right))[:, 0]
                chance = torch.full_like(logit, 0.5)
                if not self.mode:
                    chance = torch.rand(logit.shape, generator=self.draws, device=logit.device)
                edge = torch.where(wired, loose[:, u], chance < logit.sigmoid())
            elif model.forced[u, v]:
                edge = torch.ones_like(ended)
            else:
                continue
            self.adj[alive, u, v] = edge
            some = edge.nonzero()[:, 0]
            total[some] += self.gated[alive[some], u]
            state[some] = model._update(kind[some], total[some])
        return state


def _eye(cell: nn.GRUCell) -> Float[Tensor, "op op"]:
    """All types, one-hot."""
    return torch.eye(cell.input_size, dtype=cell.weight_ih.dtype, device=cell.weight_ih.device)
