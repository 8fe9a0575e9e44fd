"""Graphs whose choices carry a gradient, for generators trained through a critic's eyes.

A choice is drawn by adding Gumbel noise to logits [Jang2017]; what comes out is a hard 0 or 1,
whose gradient is that of the softmax of the noisy logits at a temperature (straight through). The
temperature shapes gradients only: what is drawn is distributed as the softmax of the logits.

All tensors have a leading axis ``replica``: several models that train side by side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.dag import select_nodes
from netwright.graphs.layout import Layout

#: Keeps the logarithm of a uniform number finite.
_TINY = 1e-20
#: Graphs drawn at a time by `sample`.
_CHUNK = 2000


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A batch of graphs for each replica, nodes in place, those not there all zero.

    Attributes:
        ops: One-hot operations.
        adj: ``adj[r, b, i, j]`` is 1 where there is an edge ``i -> j``.
        real: Which nodes are there; they need not stand at the beginning.
        entropy: Of the choices that made each graph, in nats, if asked for.
    """

    ops: Float[Tensor, "replica batch node op"]
    adj: Float[Tensor, "replica batch node node"]
    real: Bool[Tensor, "replica batch node"]
    entropy: Float[Tensor, "replica batch"] | None = None

    @classmethod
    def of(cls, batches: Sequence[ArchitectureBatch], num_ops: int) -> "Relaxed":
        """Make one of equally many architectures for each replica, padded alike."""
        ops = torch.stack([archs.ops for archs in batches])
        real = torch.stack([archs.node_mask for archs in batches])
        chosen = torch.nn.functional.one_hot(ops, num_ops) * real[..., None]
        adj = torch.stack([archs.adj for archs in batches])
        return cls(chosen.float(), adj.float(), real)

    @classmethod
    def cat(cls, some: "Relaxed", others: "Relaxed") -> "Relaxed":
        """Put the graphs of each replica one after the other."""
        return cls(
            torch.cat([some.ops, others.ops], dim=1),
            torch.cat([some.adj, others.adj], dim=1),
            torch.cat([some.real, others.real], dim=1),
        )

    def detach(self) -> "Relaxed":
        """Return the graphs without their gradients."""
        return Relaxed(self.ops.detach(), self.adj.detach(), self.real)

    def with_fixed_edges(self) -> "Relaxed":
        """Return the graphs with gradients of their operations only, as in the released code."""
        return replace(self, adj=self.adj.detach())

    @cached_property
    def into(self) -> Float[Tensor, "graph node node"]:
        """What a graph convolution multiplies node features by: along the edges [Kipf2017].

        Edges and each node's edge to itself, over the roots of both ends' degrees.
        """
        weight = (self.adj + torch.eye(self.adj.shape[-1], device=self.adj.device)).flatten(0, 1)
        scale = weight.sum(dim=-2).rsqrt()
        return scale[:, :, None] * weight.mT * scale[:, None, :]

    @cached_property
    def out_of(self) -> Float[Tensor, "graph node node"]:
        """The same, against the direction of the edges."""
        weight = (self.adj + torch.eye(self.adj.shape[-1], device=self.adj.device)).flatten(0, 1)
        scale = weight.sum(dim=-1).rsqrt()
        return scale[:, :, None] * weight * scale[:, None, :]

    @torch.no_grad()
    def archs(self) -> ArchitectureBatch:
        """Return the graphs, those of one replica after those of another."""
        size = self.adj.shape[-1]
        ops = self.ops.argmax(dim=-1).flatten(0, 1)
        adj = (self.adj > 0.5).flatten(0, 1)
        full = ArchitectureBatch(ops, adj, torch.full((len(ops),), size, device=ops.device))
        return select_nodes(full, self.real.flatten(0, 1))


@runtime_checkable
class Differentiable(Protocol):
    """A generator whose draws carry gradients (GNN2GNN, MolGAN-like, recurrent).

    Attributes:
        layout: What it knows of the space.
        replicas: How many models its parameters stand for.
    """

    layout: Layout

    @property
    def replicas(self) -> int:
        """How many models its parameters stand for."""
        ...

    def draw(
        self,
        n: int,
        *,
        rngs: Sequence[torch.Generator],
        temperature: float = 1.0,
        entropy: bool = False,
    ) -> Relaxed:
        """Draw ``n`` graphs with each replica, each from its own ``rng``.

        Args:
            n: How many.
            rngs: One source of randomness for each replica.
            temperature: Divides the logits: above 1, draws are more diverse.
            entropy: Whether to tell the entropy of the choices.
        """
        ...


@torch.no_grad()
def sample(
    generator: Differentiable, n: int, *, rng: torch.Generator, temperature: float = 1.0
) -> ArchitectureBatch:
    """Draw ``n`` graphs from a generator of one replica.

    Args:
        generator: The generator.
        n: How many.
        rng: Source of all randomness.
        temperature: Divides the logits of all choices: above 1, graphs are more diverse. At a low
            temperature they still differ, since the noise that choices depend on does.

    Raises:
        ValueError: On a temperature that is not positive.
    """
    parts = [
        generator.draw(min(_CHUNK, n - i), rngs=[rng], temperature=temperature).archs()
        for i in range(0, n, _CHUNK)
    ]
    return ArchitectureBatch.cat(parts or [ArchitectureBatch.empty(generator.layout.max_nodes)])


def uniform(
    rngs: Sequence[torch.Generator], *shape: int, device: torch.device
) -> Float[Tensor, "replica ..."]:
    """Draw uniform numbers, those of each replica from its own source."""
    return torch.stack([torch.rand(shape, generator=rng) for rng in rngs]).to(device)


def bounded(x: Float[Tensor, "*shape"], bound: float | None) -> Float[Tensor, "*shape"]:
    """Hold values within a bound, smoothly."""
    return x if bound is None else bound * (x / bound).tanh()


def draw_ops(
    logits: Float[Tensor, "*shape op"],
    noise: Float[Tensor, "*shape op"],
    tau: Float[Tensor, "#replica 1 1 1"],
) -> Float[Tensor, "*shape op"]:
    """Draw one operation each, as one-hot vectors; ``noise`` is uniform in [0, 1)."""
    noisy = logits - (-(noise + _TINY).log() + _TINY).log()
    hard = torch.nn.functional.one_hot(noisy.argmax(dim=-1), logits.shape[-1]).to(logits)
    return _straight_through(hard, lambda: (noisy / tau).softmax(dim=-1), logits)


def draw_edges(
    logits: Float[Tensor, "replica batch node node"],
    noise: Float[Tensor, "replica batch node node"],
    tau: Float[Tensor, "#replica 1 1 1"],
    layout: Layout,
) -> Float[Tensor, "replica batch node node"]:
    """Draw the free edges of a layout, and add the forced ones; ``noise`` is uniform in [0, 1).

    The difference of two Gumbel variables is a logistic one, so a free edge is drawn with the
    probability that its logit stands for. A graph with more edges than the layout allows loses
    those that were drawn with the least margin, see `_trimmed`.
    """
    free, forced, spare = _pairs(layout, logits.device)
    noisy = logits + (noise + _TINY).log() - torch.log1p(-noise)
    drawn = (noisy > 0) & free
    if spare is not None:
        drawn = _trimmed(drawn, noisy, spare, layout)
    return (
        _straight_through(drawn.to(logits), lambda: (noisy / tau).sigmoid() * free, logits) + forced
    )


@torch.no_grad()
def _trimmed(
    drawn: Bool[Tensor, "replica batch node node"],
    noisy: Float[Tensor, "replica batch node node"],
    most: int,
    layout: Layout,
) -> Bool[Tensor, "replica batch node node"]:
    """Take edges from graphs that have too many, one after the other, least margin first.

    Where `refined` removes what lies on no path from the first node to the last, that does not
    count, and as long as there are others, no edge is taken that is the last one out of a node or
    into one: so all nodes that are on a path stay there.
    """
    counted, keeps_paths = drawn, _any_size(layout)
    if keeps_paths:
        on_path, _ = _paths(drawn.to(noisy))
        counted = drawn & on_path[..., :, None] & on_path[..., None, :]
    over = counted.sum(dim=(2, 3)) > most
    left = counted
    while bool((excess := left.sum(dim=(2, 3)) > most).any()):
        candidates = left
        if keeps_paths:
            spare = (left.sum(dim=3) > 1)[..., :, None] & (left.sum(dim=2) > 1)[..., None, :]
            spare = spare & left
            candidates = torch.where(spare.any(dim=(2, 3), keepdim=True), spare, left)
        margin = torch.where(candidates, noisy, torch.inf).flatten(2)
        least = torch.zeros_like(margin, dtype=torch.bool)
        least.scatter_(2, margin.argmin(dim=2, keepdim=True), excess[..., None])
        left = left & ~least.view_as(left)
    return torch.where(over[..., None, None], left, drawn)


@cache
def _pairs(
    layout: Layout, device: torch.device
) -> tuple[Bool[Tensor, "node node"], Float[Tensor, "node node"], int | None]:
    """Free pairs, forced ones, and how many free ones may have an edge, if not all."""
    spare = None if layout.max_edges is None else layout.max_edges - int(layout.forced.sum())
    if spare is not None and spare >= int(layout.free.sum()):
        spare = None
    return layout.free.to(device), layout.forced.to(device).float(), spare


def choice_entropy(
    edge_logits: Float[Tensor, "replica batch node node"],
    op_logits: Float[Tensor, "replica batch node op"],
    layout: Layout,
) -> Float[Tensor, "replica batch"]:
    """Return the entropy, in nats, of the draws of free edges and of operations together."""
    p = edge_logits.sigmoid()
    edges = (torch.nn.functional.softplus(edge_logits) - p * edge_logits) * layout.free.to(p)
    log_share = op_logits.log_softmax(dim=-1)
    ops = -(log_share.exp() * log_share.clamp(min=-1e4)).sum(dim=-1)  # -inf: not allowed
    return edges.sum(dim=(2, 3)) + ops.sum(dim=2)


def refined(
    ops: Float[Tensor, "replica batch node op"],
    adj: Float[Tensor, "replica batch node node"],
    layout: Layout,
    entropy: Float[Tensor, "replica batch"] | None = None,
) -> Relaxed:
    """Remove what lies on no path from the first node to the last ([GNN2GNN] section 3.2.1).

    As `netwright.graphs.dag.refine`, on graphs whose choices carry gradients, which what is left
    keeps. Only where graphs may have any size: where an operation ends them, all nodes between
    the first and the last may have the same operations, and all edges are free.
    """
    shape = ops.shape[:3]
    if not _any_size(layout):
        there = torch.ones(shape, dtype=torch.bool, device=ops.device)
        return Relaxed(ops, adj, there, entropy)
    on_path, lost = _paths(adj)
    keep = on_path.to(adj)
    adj = adj * (keep[..., :, None] * keep[..., None, :])
    if bool(lost.any()):
        bare = torch.zeros_like(adj[0, 0])
        bare[0, -1] = 1
        adj = adj + lost[..., None, None] * bare
    return Relaxed(ops * keep[..., None], adj, on_path, entropy)


@torch.no_grad()
def _paths(
    adj: Float[Tensor, "replica batch node node"],
) -> tuple[Bool[Tensor, "replica batch node"], Bool[Tensor, "replica batch"]]:
    """Tell which nodes lie on a path from first to last, ends included, and where there is none."""
    size = adj.shape[-1]
    reached = adj.detach().flatten(0, 1) + torch.eye(size, device=adj.device)
    for _ in range((size - 2).bit_length()):  # paths of up to 2, 4, ... edges
        reached = torch.bmm(reached, reached).clamp(max=1)
    on_path = (reached[:, 0, :] * reached[:, :, -1] > 0).view(adj.shape[:3])
    on_path[..., 0] = on_path[..., -1] = True
    return on_path, (reached[:, 0, -1] == 0).view(adj.shape[:2])


@cache
def _any_size(layout: Layout) -> bool:
    """Tell whether removing nodes of a layout's graphs leaves graphs of the layout."""
    if layout.end_op is None or layout.max_nodes < 2:
        return False
    within = layout.allowed_ops[1:-1]
    alike = bool((within == within[:1]).all()) and bool(within[:, layout.end_op].all())
    free = bool(layout.free.equal(torch.ones_like(layout.free).triu(diagonal=1)))
    return free and alike and bool(layout.allowed_ops[-1, layout.end_op])


def op_limits(layout: Layout) -> Float[Tensor, "node op"]:
    """Return what is added to logits of operations: 0 where one is allowed, else minus infinity.

    The operation that ends a graph stands at the last node, and nowhere else if another may.
    """
    allowed = layout.allowed_ops.clone()
    if layout.end_op is not None:
        others = allowed.clone()
        others[:, layout.end_op] = False
        allowed = torch.where(others.any(dim=1, keepdim=True), others, allowed)
        if layout.allowed_ops[-1, layout.end_op]:
            allowed[-1] = False
            allowed[-1, layout.end_op] = True
    return torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)


def stacked(models: Sequence[nn.Module]) -> None:
    """Let the first model's parameters and buffers stand for all models, replica by replica.

    The models must be alike, each with one replica; buffers that are not saved have no such axis.
    """
    first, states = models[0], [model.state_dict() for model in models]
    for name, tensor in [*first.named_parameters(), *first.named_buffers()]:
        if name in states[0]:
            tensor.data = torch.cat([state[name] for state in states])


def _straight_through(
    hard: Float[Tensor, "*shape"], soft: Callable[[], Tensor], logits: Tensor
) -> Float[Tensor, "*shape"]:
    """Return what was drawn, with the gradient of its soft form if there is one."""
    if not logits.requires_grad:
        return hard
    made = soft()
    return hard + (made - made.detach())


def replica(state: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Return the state of one replica of a model, or of its optimiser, for a model of one.

    What has no axis, like the number of steps, is the same for all.
    """
    return {
        name: (value[index : index + 1] if value.ndim else value).clone()
        for name, value in state.items()
    }
