"""Decode a latent point into a graph, node by node ([SVGe] section III-B, after [Li2018])."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.draws import Draws
from netwright.nn.limits import Limits
from netwright.nn.readout import GatedSum, Propagation, SumGate


@dataclass(frozen=True, eq=False)
class Rules:
    """What layouts leave to decide, for a batch of rows that follow one or another of them.

    Attributes:
        allowed: Operations of each position, by layout.
        free: Pairs whose edge is to be decided.
        forced: Pairs whose edge is always there.
        end_op: The operation that ends a graph, or -1.
    """

    allowed: Bool[Tensor, "way node op"]
    free: Bool[Tensor, "way node node"]
    forced: Bool[Tensor, "way node node"]
    end_op: Int[Tensor, " way"]

    @classmethod
    def of(cls, layouts: Sequence[Layout]) -> "Rules":
        """Stack layouts of one size and vocabulary."""
        return cls(
            torch.stack([layout.allowed_ops for layout in layouts]),
            torch.stack([layout.free for layout in layouts]),
            torch.stack([layout.forced for layout in layouts]),
            torch.tensor([-1 if layout.end_op is None else layout.end_op for layout in layouts]),
        )

    def to(self, device: torch.device) -> "Rules":
        """Copy to ``device``."""
        fields = (self.allowed, self.free, self.forced, self.end_op)
        return Rules(*(field.to(device) for field in fields))


@dataclass(frozen=True, eq=False)
class _Weights:
    """Weights as they are used at every step.

    Attributes:
        propagate: Of message passing.
        read: Of all layers that read node states, as one: the sums and the edge head's first.
        bias: Theirs.
    """

    propagate: tuple[Tensor, ...]
    read: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False)
class _Read:
    """What a step sees of the graph so far.

    Attributes:
        state: States of its nodes.
        graph: Their sum, for the heads.
        begin: Another, for the state of a new node.
        nodes: What the edge head's first layer makes of each node.
    """

    state: Float[Tensor, "row node size"]
    graph: Float[Tensor, "row latent"]
    begin: Float[Tensor, "row latent"]
    nodes: Float[Tensor, "row node hidden"]

    def __getitem__(self, index: slice | Tensor) -> "_Read":
        return _Read(self.state[index], self.graph[index], self.begin[index], self.nodes[index])


@dataclass(frozen=True, eq=False)
class _Told:
    """What a latent point adds to the first layers of the heads, the same at every step."""

    init: Float[Tensor, "row hidden"]
    op: Float[Tensor, "row latent"]
    edges: Float[Tensor, "row hidden"]

    def __getitem__(self, index: slice | Tensor) -> "_Told":
        return _Told(self.init[index], self.op[index], self.edges[index])


class _TwoLayers(nn.Module):
    """A perceptron with one hidden layer; its first layer is used in parts."""

    def __init__(self, size: int, hidden: int, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(size, hidden), nn.Linear(hidden, out)


class SequentialDecoder(nn.Module):
    r"""$p(G \mid z)$, one node with its incoming edges after the other.

    A step draws the operation of the next node from the graph so far (eq. 6 and 7), makes its
    state (eq. 5), and draws its incoming edges (eq. 8); then the states of all nodes change by
    message passing (eq. 2) and are summed up (eq. 4).

    Args:
        num_ops: Size of the operation vocabulary.
        latent: Size of the latent space.
        propagate: Message passing.
        gate: That of the sums.
    """

    def __init__(self, num_ops: int, latent: int, propagate: Propagation, *, gate: SumGate) -> None:
        super().__init__()
        assert isinstance(propagate, nn.Module)
        size = propagate.size
        hidden = size + latent
        self.latent, self.num_ops = latent, num_ops
        self.embedding = nn.Embedding(num_ops, size)
        self.start = _TwoLayers(size + latent, hidden, size)
        self.init = _TwoLayers(size + 2 * latent, hidden, size)
        self.add_node = _TwoLayers(2 * latent, latent, num_ops)
        self.add_edges = _TwoLayers(2 * hidden, hidden, 1)
        self.propagate = propagate
        # One sum for the heads, one for the states of new nodes.
        self.read = GatedSum(size, latent, sums=2, gate=gate)

    def score(
        self,
        latent: Float[Tensor, "row latent"],
        archs: ArchitectureBatch,
        rules: Rules,
        way: Int[Tensor, " row"],
    ) -> tuple[Float[Tensor, "row node"], Float[Tensor, "row node"]]:
        r"""Return $\log p(G \mid z)$ in parts, each graph fed its own past (section III-C).

        Args:
            latent: Points.
            archs: Complete graphs, from largest to smallest.
            rules: Layouts.
            way: Which of them each graph follows.

        Returns:
            The share of each node's operation, and that of its incoming edges.
        """
        steps, mine = archs.max_nodes, rules.allowed[way]
        log_op = [self._first_op(latent, archs.ops[:, 0], rules, way)]
        log_edges = [torch.zeros_like(log_op[0])]
        for step, (op, edges) in enumerate(self._forced(latent, archs, rules, way), start=1):
            allowed = op.masked_fill(~mine[: len(op), step], -torch.inf).log_softmax(dim=1)
            found = allowed.gather(1, archs.ops[: len(op), step, None])[:, 0]  # eq. 6
            log_op.append(_padded(found, len(latent)))
            if edges is None:
                log_edges.append(torch.zeros_like(log_op[0]))
                continue
            there = archs.adj[: len(op), :step, step].to(edges.dtype)
            free = rules.free[way[: len(op)], :step, step].to(edges.dtype)
            lost = nn.functional.binary_cross_entropy_with_logits(
                edges, there, weight=free, reduction="none"
            )  # eq. 8
            log_edges.append(_padded(-lost.sum(dim=1), len(latent)))
        fill = [torch.zeros_like(log_op[0])] * (steps - len(log_op))
        return torch.stack(log_op + fill, dim=1), torch.stack(log_edges + fill, dim=1)

    def logits(
        self,
        latent: Float[Tensor, "row latent"],
        archs: ArchitectureBatch,
        rules: Rules,
        way: Int[Tensor, " row"],
    ) -> tuple[Float[Tensor, "row node op"], Float[Tensor, "row node node"]]:
        r"""Return what `score` makes probabilities of, with the same arguments.

        Returns:
            Logits of each node's operation, the allowed and the others, and of each edge; 0 for
            nodes that a graph does not have, for a first node that is fixed, and where no edge
            is free.
        """
        rows, steps = len(latent), archs.max_nodes
        op = [latent.new_zeros(rows, self.num_ops)] * steps
        if not _fixed(rules):
            op[0] = self._op_logits(latent, self._told(latent))
        edges = [latent.new_zeros(rows, steps)] * steps
        for step, (of_op, of_edges) in enumerate(self._forced(latent, archs, rules, way), start=1):
            missing = rows - len(of_op)
            op[step] = nn.functional.pad(of_op, (0, 0, 0, missing))
            if of_edges is not None:
                edges[step] = nn.functional.pad(of_edges, (0, steps - step, 0, missing))
        return torch.stack(op, dim=1), torch.stack(edges, dim=2)

    def _forced(
        self,
        latent: Float[Tensor, "row latent"],
        archs: ArchitectureBatch,
        rules: Rules,
        way: Int[Tensor, " row"],
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield what the heads say of each node after the first, each graph fed its own past.

        Logits of its operation and of edges to it, None if none is free; for the graphs that have
        the node, which come first.
        """
        told, steps = self._told(latent), archs.max_nodes
        state = self._started(latent, archs.ops[:, 0])
        weights = self._weights()
        # Graphs drop out from the end as they are complete.
        alive = (archs.num_nodes[:, None] > torch.arange(1, steps, device=archs.device)).sum(dim=0)
        for step, rows in enumerate(alive.tolist(), start=1):
            if not rows:
                break
            now = told[:rows]
            read = self._read(state[:rows], archs.adj[:rows, :step, :step], weights)
            new = self._initial(archs.ops[:rows, step], read.begin, now)
            free = bool(rules.free[way[:rows], :step, step].any())
            edges = self._edge_logits(read, new, now) if free else None
            yield self._op_logits(read.graph, now), edges
            if step + 1 < steps:
                state = torch.cat([read.state, new[:, None]], dim=1)

    @torch.no_grad()
    def draw(
        self,
        latent: Float[Tensor, "point latent"],
        rules: Rules,
        way: Int[Tensor, " point"],
        *,
        draws: int = 1,
        rng: torch.Generator | None,
        limits: Limits | None = None,
    ) -> tuple[ArchitectureBatch, Int[Tensor, "point draw"]]:
        """Draw graphs at each point, independently of each other.

        What the network says of a step depends on the point and the graph so far only. So every
        draw makes its own choices, but draws at one point that agree so far share a row.

        Args:
            latent: Points.
            rules: Layouts.
            way: Which of them the graphs at each point follow.
            draws: How many graphs at each point.
            rng: On the device of the points; if None, the likeliest choices are taken.
            limits: What the graph as a whole must satisfy, if anything.

        Returns:
            Graphs, all those of one point distinct, and which of them each draw is.
        """
        size, device = rules.allowed.shape[1], latent.device
        told, weights = self._told(latent), self._weights()
        drawn = Draws(len(latent), draws, size, device)
        state, read = latent, None
        for step in range(size):
            now, mine = told[drawn.point], way[drawn.point]
            if step:
                read = self._read(state, drawn.graphs.adj[:, :step, :step], weights)
            # h_G = z before there is a graph
            logits = self._op_logits(latent if read is None else read.graph, now)
            allowed = rules.allowed[mine, step]
            if limits is not None:
                allowed = limits.ops(allowed, drawn.graphs.adj, step, rules.end_op[mine])
            logits = logits.masked_fill(~allowed, -torch.inf)
            op = _choose(logits[drawn.row], rng)
            before, chosen = drawn.split(op[:, None], self.num_ops)
            op, now, mine = chosen[:, 0], now[before], mine[before]
            drawn.graphs.ops[:, step] = op
            last = (op == rules.end_op[mine]) | (step + 1 == size)
            if read is None:
                state = self._started(latent[drawn.point], op)
            else:
                read = read[before]
                new = self._initial(op, read.begin, now)
                free = rules.free[mine, :step, step]
                column = rules.forced[mine, :step, step]
                state = torch.cat([read.state, new[:, None]], dim=1)
                if bool(free.any()):
                    row, score = drawn.row, self._edge_logits(read, new, now)
                    free, score = free[row], score[row]
                    column = column[row] | (free & _toss(score, rng))
                    if limits is not None:
                        adj = drawn.graphs.adj[row]
                        column = limits.edges(column, free, score, adj, step, last[row])
                    before, chosen = drawn.split(column.long(), 2)
                    column, state, last = chosen.bool(), state[before], last[before]
                drawn.graphs.adj[:, :step, step] = column
            state = state[drawn.finish(last, step + 1)]
            if not len(state):
                break
        return drawn.result()

    def _told(self, latent: Float[Tensor, "row latent"]) -> _Told:
        heads = (self.init, self.add_node, self.add_edges)
        return _Told(
            *(
                nn.functional.linear(latent, head.first.weight[:, -self.latent :], head.first.bias)
                for head in heads
            )
        )

    def _first_op(
        self,
        latent: Float[Tensor, "row latent"],
        op: Int[Tensor, " row"],
        rules: Rules,
        way: Int[Tensor, " row"],
    ) -> Float[Tensor, " row"]:
        """Log-probability of the first node's operation; 0 where the layout fixes it."""
        if _fixed(rules):
            return torch.zeros_like(latent[:, 0])
        logits = self._op_logits(latent, self._told(latent))  # h_G = z before there is a graph
        logits = logits.masked_fill(~rules.allowed[way, 0], -torch.inf)
        return logits.log_softmax(dim=1).gather(1, op[:, None])[:, 0]

    def _started(
        self, latent: Float[Tensor, "row latent"], op: Int[Tensor, " row"]
    ) -> Float[Tensor, "row 1 size"]:
        """Return the first node's state (eq. 5 without a graph)."""
        first, second = self.start.first, self.start.second
        hidden = first(torch.cat([self.embedding(op), latent], dim=1)).relu()
        out: Tensor = second(hidden)
        return out[:, None]

    def _weights(self) -> _Weights:
        weight, bias = self.read.joined()
        of_node = self.add_edges.first.weight[:, : self.embedding.embedding_dim]
        return _Weights(
            self.propagate.merged(),
            torch.cat([weight, of_node]),
            nn.functional.pad(bias, (0, len(of_node))),
        )

    def _read(
        self,
        state: Float[Tensor, "row node size"],
        adj: Bool[Tensor, "row node node"],
        weights: _Weights,
    ) -> _Read:
        """Pass messages and sum up."""
        single = state.shape[1] == 1
        if not single:
            state = self.propagate(state, adj, weights.propagate)
        projected = nn.functional.linear(state, weights.read, weights.bias)
        sums, nodes = projected.tensor_split([-self.add_edges.first.out_features], dim=2)
        graph, begin = self.read.ungated(sums[:, 0]) if single else self.read.summed(sums)
        return _Read(state, graph, begin, nodes)

    def _op_logits(
        self, graph: Float[Tensor, "row latent"], told: _Told
    ) -> Float[Tensor, "row op"]:
        """Score operations for the next node (eq. 7)."""
        first, second = self.add_node.first, self.add_node.second
        of_graph = nn.functional.linear(graph, first.weight[:, : self.latent])
        out: Tensor = second((of_graph + told.op).relu())
        return out

    def _initial(
        self, op: Int[Tensor, " row"], begin: Float[Tensor, "row latent"], told: _Told
    ) -> Float[Tensor, "row size"]:
        """Return the state of a new node (eq. 5)."""
        first, second = self.init.first, self.init.second
        size = self.embedding.embedding_dim
        of_op, of_graph, _ = first.weight.split([size, self.latent, self.latent], dim=1)
        by_op = self.embedding.weight @ of_op.T
        hidden = nn.functional.embedding(op, by_op) + nn.functional.linear(begin, of_graph)
        out: Tensor = second((hidden + told.init).relu())
        return out

    def _edge_logits(
        self, read: _Read, new: Float[Tensor, "row size"], told: _Told
    ) -> Float[Tensor, "row node"]:
        """Score an edge from each node to the new one (eq. 8)."""
        first, second = self.add_edges.first, self.add_edges.second
        size = new.shape[1]
        of_rest = first.weight[:, size : 2 * size + self.latent]
        # The first layer is linear: what all of a graph's pairs share is computed once.
        shared = nn.functional.linear(torch.cat([new, read.graph], dim=1), of_rest) + told.edges
        out: Tensor = second((read.nodes + shared[:, None]).relu_())
        return out[..., 0]


def _fixed(rules: Rules) -> bool:
    """Tell whether the first node's operation is always the same."""
    return bool((rules.allowed[:, 0].sum(dim=1) == 1).all())


def _padded(values: Float[Tensor, " alive"], rows: int) -> Float[Tensor, " row"]:
    return nn.functional.pad(values, (0, rows - len(values)))


def _choose(logits: Float[Tensor, "row op"], rng: torch.Generator | None) -> Int[Tensor, " row"]:
    if rng is None:
        return logits.argmax(dim=1)
    return torch.multinomial(logits.softmax(dim=1), 1, generator=rng)[:, 0]


def _toss(
    logits: Float[Tensor, "row node"], rng: torch.Generator | None
) -> Bool[Tensor, "row node"]:
    if rng is None:
        return logits > 0
    draws = torch.rand(logits.shape, generator=rng, dtype=logits.dtype, device=logits.device)
    return draws < logits.sigmoid()
