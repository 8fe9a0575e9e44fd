r"""GraphPNAS: an autoregressive graph generator with exact likelihood ([GraphPNAS] section 3.1).

Node by node, a graph neural network reads the graph so far together with a new node, and predicts
the new node's incoming edges, a mixture of Bernoulli vectors, and its operation.

Choices where [GraphPNAS] is silent or cannot be taken to the letter:

* $h^0$ is the one-hot operation (or the new node's own one-hot) times a learned matrix, which
  takes it to the size of a state.
* The direction $1_{ij}$ of a message is along the edge, against it, or from a node to itself.
* $u$ of the new node holds its position only: its neighbours are what is to be predicted.
* The sum of eq. 4 runs over all earlier nodes, also those whose edge the layout fixes.
* The operation is predicted from the same states as the edges and does not depend on the edges
  drawn in the same step, as eq. 1 has it.
* A variable number of nodes comes from the operation that ends a graph.

``variant = "released"`` is the model of the paper's released code, which differs: weights of their
own for each round, vector gates, no message to itself, edges told by the numbers of their nodes,
a ReLU between rounds, perceptrons of three layers at the end, the mean in eq. 4, and initial
states that tell a node's incoming edges and its number but no operation (``feedback = False``).
There new nodes start from zero.
"""

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.generators.base import Generator, complete
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.message_passing import AttentionMessagePassing, Gate
from netwright.nn.mixture import BernoulliMixture, MixtureHead
from netwright.nn.prefixes import Prefixes
from netwright.nn.replicas import ReplicaLinear, uniform
from netwright.rng import child, scoped

Variant = Literal["paper", "released"]

#: Graphs from which on `GraphPNAS.sample` reads equal prefixes only once.
_MANY = 16
#: Nodes of prefixes that `GraphPNAS.sample` reads at a time.
_ROWS = 1024


class GraphPNAS(Generator):
    r"""The generator of GraphPNAS, in the paper's sizes.

    A graph is complete at the first node whose operation is ``layout.end_op``, or at
    ``layout.max_nodes`` nodes. Forced edges have probability 1 and forbidden ones 0; operations
    that a position does not allow have probability 0. What the layout leaves no choice about is
    not computed.

    Parameters have a leading axis ``replica`` of length 1. With longer ones, as
    ``torch.func.functional_call`` puts them in, `log_prob` is that of several generators side by
    side, each with an equal share of the graphs, in order.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        hidden: Size of node states and messages, and width of all perceptrons.
        rounds: Rounds of message passing $S$ per generation step.
        mixtures: Components $K$ of the edge distribution.
        variant: "paper", or "released" for the model of the paper's released code.
        gate: "scalar", one number per message, or "vector"; that of the variant if None.
        feedback: Whether the network sees the operations drawn so far. If None, as in the variant,
            except where operations are all there is to decide: there it does.
        rng: Draws the initial parameters.
    """

    #: Tells `netwright.searchers.policy_gradient` that replicas can be trained side by side.
    stackable = True

    def __init__(
        self,
        layout: Layout,
        *,
        hidden: int = 128,
        rounds: int = 7,
        mixtures: int = 10,
        variant: Variant = "paper",
        gate: Gate | None = None,
        feedback: bool | None = None,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.register_buffer("allowed_ops", layout.allowed_ops.clone(), persistent=False)
        self.register_buffer("free", layout.free.clone(), persistent=False)
        self.register_buffer("forced", layout.forced.clone(), persistent=False)
        self.allowed_ops: Tensor
        self.free: Tensor
        self.forced: Tensor
        paper = variant == "paper"
        if gate is None:
            gate = "scalar" if paper else "vector"
        self.variant = variant
        self.feedback = (paper or not layout.free.any()) if feedback is None else feedback
        size, layers = layout.max_nodes, 2 if paper else 3
        with scoped(rng):
            if self.feedback or paper:
                # Projects the one-hot operation of a known node, or the new node's own one-hot.
                self.initial = uniform(layout.num_ops + 1, hidden, fan_in=layout.num_ops + 1)
            if not paper:
                self.place = uniform(2 * size, hidden, fan_in=2 * size)
            self.propagate = AttentionMessagePassing(
                hidden,
                2 * size if paper else size,
                rounds,
                gate=gate,
                tied=paper,
                own=2 if paper else None,
                symmetric=not paper,
                relu=not paper,
            )
            self.edge_head = MixtureHead(
                hidden, hidden, mixtures, layers=layers, pooling="sum" if paper else "mean"
            )
            widths = [hidden] * layers + [layout.num_ops]
            self.op_head = nn.ModuleList(ReplicaLinear(a, b) for a, b in pairwise(widths))
        one_op = layout.allowed_ops.sum(dim=1) == 1
        self._decides_edges = bool(layout.free.any())
        self._open = (~one_op | layout.free.any(dim=0)).tolist()  # steps with a choice to make

    def log_prob(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        r"""Return $\log p_\theta(G)$ of labelled graphs in their given node order, in nats.

        All prefixes of all graphs are scored at once. Minus infinity for graphs that are not
        complete graphs of the layout; the gradient of the others stays finite.
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
        replicas = self.propagate.of_state.shape[0]
        share, left = divmod(len(archs), replicas)
        if left:
            raise ValueError(f"{len(archs)} graphs for {replicas} replicas: not equally many")
        inside = complete(archs, self.layout)
        dtype = self.propagate.message_bias.dtype
        if bool(inside.all()):
            return self._score(archs.pad(self.layout.max_nodes), share)
        outside = torch.full((len(archs), 2), -torch.inf, dtype=dtype, device=archs.device)
        # A graph outside is replaced by one that was drawn, so that shares stay equal.
        fill = self._anything(archs.device)
        index = torch.where(inside, torch.arange(len(archs), device=archs.device), len(archs))
        kept = ArchitectureBatch.cat([archs, fill])[index].pad(self.layout.max_nodes)
        return torch.where(inside[:, None], self._score(kept, share), outside)

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
        for step in range(size):
            if self._open[step]:
                known = ArchitectureBatch(
                    ops[alive], adj[alive], torch.full_like(alive, fill_value=step)
                )
                logits, edges = self._predict_each_once(known)
                edges = BernoulliMixture(
                    edges.alpha / temperature, edges.theta / temperature, edges.free
                )
                adj[alive, :, step] = edges.sample(rng=draws)
                probability = (logits / temperature).softmax(dim=1)
                ops[alive, step] = torch.multinomial(probability, 1, generator=draws)[:, 0]
            else:
                ops[alive, step] = self.allowed_ops[step].long().argmax()
            adj[alive, :, step] |= self.forced[:, step]
            if self.layout.end_op is not None:
                ended = ops[alive, step] == self.layout.end_op
                num_nodes[alive[ended]] = step + 1
                alive = alive[~ended]
            if not len(alive):
                break
        return ArchitectureBatch(ops, adj, num_nodes)

    def predict(
        self,
        known: ArchitectureBatch,
        replica: Int[Tensor, " prefix"] | None = None,
    ) -> tuple[Float[Tensor, "prefix op"], BernoulliMixture]:
        """Predict the next node of each graph, from one run of message passing.

        Args:
            known: The nodes so far, padded to ``layout.max_nodes``; their number is the position
                of the next.
            replica: Which replica each graph belongs to, in ascending order, if there are several.

        Returns:
            Logits of its operation, and the distribution of its incoming edges.
        """
        replicas = self.propagate.of_state.shape[0]
        step: Int[Tensor, " prefix"] = known.num_nodes
        prefixes = Prefixes.pack(known, replica, replicas)
        state = self._propagate(prefixes, known)
        logits = state.index_select(0, prefixes.new).view(replicas, -1, state.shape[1])
        for i, layer in enumerate(self.op_head):
            logits = layer(logits.relu() if i else logits)  # eq. 5
        if self._decides_edges:
            width = max(1, int(step.max()) if len(step) else 0)
            alpha, theta = self.edge_head(
                state, prefixes.new, prefixes.candidates[:, :width], prefixes.exists[:, :width]
            )  # eq. 4 and 6
        else:
            width = 1
            alpha = state.new_zeros(len(prefixes.new), 1)
            theta = alpha[:, :, None]
        logits, slot = logits.flatten(0, 1), prefixes.slot
        if replicas > 1:
            logits, alpha, theta = logits[slot], alpha[slot], theta[slot]
        theta = nn.functional.pad(theta, (0, 0, 0, self.layout.max_nodes - width))
        logits = logits.masked_fill(~self.allowed_ops[step], -torch.inf)
        return logits, BernoulliMixture(alpha, theta, self.free.T[step])

    def _propagate(
        self, prefixes: Prefixes, known: ArchitectureBatch
    ) -> Float[Tensor, "row hidden"]:
        """Return the states of all nodes after message passing."""
        dtype, size = self.propagate.message_bias.dtype, self.layout.max_nodes
        graph, position, is_new = prefixes.graph, prefixes.position, prefixes.is_new
        place = torch.eye(size, dtype=dtype, device=known.device)[position]
        incoming = known.adj[graph, :, position].to(dtype)
        u = torch.cat([incoming, place], dim=1)  # incoming neighbours and position
        state = torch.zeros(len(graph), self.propagate.hidden, dtype=dtype, device=known.device)
        by_replica = (prefixes.replicas, -1, state.shape[1])
        if hasattr(self, "initial"):
            before = known.ops[graph, position] * int(self.feedback)
            op = torch.where(is_new, self.layout.num_ops, before)
            owner = torch.arange(prefixes.replicas, device=op.device) * (self.layout.num_ops + 1)
            row = (op.view(prefixes.replicas, -1) + owner[:, None]).flatten()
            state = nn.functional.embedding(row, self.initial.flatten(0, 1))
        along = against = None  # the direction tells the kind
        if self.variant == "released":
            told = (u * ~is_new[:, None]).view(prefixes.replicas, -1, u.shape[1]) @ self.place
            state = (state.view(by_replica) + told).flatten(0, 1) * ~is_new[:, None]
            u, along, against = place, prefixes.kind, 2 * prefixes.kind
        out: Tensor = self.propagate(state, u, prefixes.source, prefixes.target, along, against)
        return out

    def _score(self, archs: ArchitectureBatch, share: int) -> Float[Tensor, "batch 2"]:
        """Return the log-probability of edges and operations of complete graphs."""
        undecided = archs.node_mask & torch.tensor(self._open, device=archs.device)
        graph, step = undecided.nonzero(as_tuple=True)
        known = ArchitectureBatch.masked(archs.ops[graph], archs.adj[graph], step)
        logits, edges = self.predict(known, graph // max(share, 1))
        op = archs.ops[graph, step]
        log_op = logits.log_softmax(dim=1).gather(1, op[:, None])[:, 0]  # eq. 3
        log_edges = edges.log_prob(archs.adj[graph, :, step])  # eq. 2
        nothing = torch.zeros(len(archs), 2, dtype=log_op.dtype, device=archs.device)
        return nothing.index_add(0, graph, torch.stack([log_edges, log_op], dim=1))  # eq. 1

    def _predict_each_once(
        self, known: ArchitectureBatch
    ) -> tuple[Float[Tensor, "prefix op"], BernoulliMixture]:
        """Do what `predict` does, but read equal prefixes only once: the first few are few."""
        rows = len(known) * (int(known.num_nodes[0]) + 1 if len(known) else 0)
        if rows > _ROWS:  # what stays in the cache is several times faster
            index = torch.arange(len(known), device=known.device).tensor_split(-(-rows // _ROWS))
            parts = [self._predict_each_once(known[some]) for some in index]
            return torch.cat([logits for logits, _ in parts]), BernoulliMixture(
                torch.cat([edges.alpha for _, edges in parts]),
                torch.cat([edges.theta for _, edges in parts]),
                torch.cat([edges.free for _, edges in parts]),
            )
        if len(known) < _MANY:
            return self.predict(known)
        step = int(known.num_nodes[0])
        told = torch.cat([known.ops[:, :step], known.adj[:, :step, :step].flatten(1)], dim=1)
        mixer = torch.Generator().manual_seed(step)
        factors = torch.randint(-(2**62), 2**62, (told.shape[1],), generator=mixer)
        _, which = (told * factors.to(told.device)).sum(dim=1).unique(return_inverse=True)
        first = torch.full_like(which, fill_value=len(which))
        place = torch.arange(len(which), device=which.device)
        first = first.scatter_reduce(0, which, place, "amin")[: int(which.max()) + 1]
        if len(first) == len(which) or not torch.equal(told[first][which], told):
            return self.predict(known)
        logits, edges = self.predict(known[first])
        return logits[which], BernoulliMixture(
            edges.alpha[which], edges.theta[which], edges.free[which]
        )

    def _anything(self, device: torch.device) -> ArchitectureBatch:
        """Some complete graph: the first operation allowed everywhere, forced edges only."""
        layout, size = self.layout, self.layout.max_nodes
        ops = layout.allowed_ops.long().argmax(dim=1)[None]
        count = torch.full((1,), size)
        if layout.end_op is not None:
            ends = ops == layout.end_op
            count = torch.where(ends.any(dim=1), ends.long().argmax(dim=1) + 1, size)
        return ArchitectureBatch.masked(ops, layout.forced[None], count).to(device)
