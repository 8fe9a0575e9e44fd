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
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.generators.base import Generator, complete
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.message_passing import AttentionMessagePassing
from netwright.nn.mixture import BernoulliMixture, MixtureHead
from netwright.nn.prefixes import Prefixes
from netwright.rng import child, scoped


class GraphPNAS(Generator):
    r"""The generator of GraphPNAS, in the paper's sizes.

    A graph is complete at the first node whose operation is ``layout.end_op``, or at
    ``layout.max_nodes`` nodes. Forced edges have probability 1 and forbidden ones 0; operations
    that a position does not allow have probability 0. What the layout leaves no choice about is
    not computed.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        hidden: Size of node states and messages, and width of all perceptrons.
        rounds: Rounds of message passing $S$ per generation step.
        mixtures: Components $K$ of the edge distribution.
        rng: Draws the initial parameters.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        hidden: int = 128,
        rounds: int = 7,
        mixtures: int = 10,
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
        with scoped(rng):
            # Projects the one-hot operation of a known node, or the new node's own one-hot.
            self.initial = nn.Linear(layout.num_ops + 1, hidden, bias=False)
            self.propagate = AttentionMessagePassing(hidden, 2 * layout.max_nodes, rounds)
            self.edge_head = MixtureHead(hidden, hidden, mixtures)
            self.op_head = nn.Sequential(
                nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, layout.num_ops)
            )
        one_op = layout.allowed_ops.sum(dim=1) == 1
        self._open = (~one_op | layout.free.any(dim=0)).tolist()  # steps with a choice to make

    def log_prob(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        r"""Return $\log p_\theta(G)$ of labelled graphs in their given node order, in nats.

        All prefixes of all graphs are scored at once. Minus infinity for graphs that are not
        complete graphs of the layout; the gradient of the others stays finite.
        """
        inside = complete(archs, self.layout)
        found = archs[inside].pad(self.layout.max_nodes)
        outside = torch.full(
            (len(archs),), -torch.inf, dtype=self.initial.weight.dtype, device=archs.device
        )
        return outside.index_copy(0, inside.nonzero()[:, 0], self._score(found))

    def forward(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """Return `log_prob`, so that `torch.func` can call it with other parameters."""
        return self.log_prob(archs)

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
                logits, edges = self._predict(known)
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

    def _score(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """Return the log-probability of complete graphs."""
        undecided = archs.node_mask & torch.tensor(self._open, device=archs.device)
        graph, step = undecided.nonzero(as_tuple=True)
        known = ArchitectureBatch.masked(archs.ops[graph], archs.adj[graph], step)
        logits, edges = self._predict(known)
        op = archs.ops[graph, step]
        log_op = logits.log_softmax(dim=1).gather(1, op[:, None])[:, 0]  # eq. 3
        log_edges = edges.log_prob(archs.adj[graph, :, step])  # eq. 2
        nothing = torch.zeros(len(archs), dtype=log_op.dtype, device=archs.device)
        return nothing.index_add(0, graph, log_op + log_edges)  # eq. 1

    def _predict(
        self, known: ArchitectureBatch
    ) -> tuple[Float[Tensor, "prefix op"], BernoulliMixture]:
        """Predict the next node of each graph, from one round of message passing.

        Args:
            known: The nodes so far; their number is the position of the next.

        Returns:
            Logits of its operation, and the distribution of its incoming edges.
        """
        step: Int[Tensor, " prefix"] = known.num_nodes
        prefixes = Prefixes.pack(known, self.layout.num_ops)
        state = nn.functional.embedding(prefixes.op, self.initial.weight.T)
        state = self.propagate(
            state, prefixes.features.to(state.dtype), prefixes.source, prefixes.target
        )
        logits = self.op_head(state[prefixes.new])  # eq. 5
        logits = logits.masked_fill(~self.allowed_ops[step], -torch.inf)
        free = self.free.T[step]
        edges = self.edge_head(
            state, prefixes.new, prefixes.candidates, prefixes.exists, free
        )  # eq. 4 and 6
        return logits, edges
