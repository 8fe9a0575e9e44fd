"""How an autoregressive generator comes to one graph, step by step ([GraphPNAS] Fig. 4).

Nothing is drawn here: the steps of a given graph are scored, all in one batch, so a trace says
what the generator saw and what chance it gave to what it did.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright.generators.base import complete
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.mixture import BernoulliMixture


@runtime_checkable
class Stepwise(Protocol):
    """A generator that adds node after node, each with its operation and its incoming edges."""

    layout: Layout

    def predict(
        self, known: ArchitectureBatch
    ) -> tuple[Float[Tensor, "prefix op"], BernoulliMixture]:
        """Return the logits of the next node's operation and the distribution of its edges."""
        ...


@dataclass(frozen=True, eq=False)
class Trace:
    r"""The steps that lead to one graph; step i adds node i to the nodes before it.

    Their log-probabilities add up to $\log p_\theta(G)$.

    Attributes:
        op: The operation that node i takes.
        op_probability: Of every operation.
        edges: ``edges[i, j]``: whether node i takes an edge from node j.
        edge_probability: Of every such edge alone, whatever the others are: 1 where the layout
            forces it, 0 where it forbids it.
        free: Which edges are drawn at all.
        weight: Of the components of the mixture that the edges are drawn from.
        log_op: Log-probability of the operation, in nats.
        log_edges: Log-probability of the edges together; 0 where none is free.
    """

    op: Int[Tensor, " step"]
    op_probability: Float[Tensor, "step op"]
    edges: Bool[Tensor, "step node"]
    edge_probability: Float[Tensor, "step node"]
    free: Bool[Tensor, "step node"]
    weight: Float[Tensor, "step mixture"]
    log_op: Float[Tensor, " step"]
    log_edges: Float[Tensor, " step"]

    @property
    def log_prob(self) -> Float[Tensor, " step"]:
        """The running sum: log-probability of the graph up to and including each step."""
        return (self.log_op + self.log_edges).cumsum(dim=0)


@torch.no_grad()
def trace(generator: Stepwise, arch: ArchitectureBatch) -> Trace:
    """Score the steps of one graph.

    Args:
        generator: Predicts step after step.
        arch: A single graph, its nodes in the order in which they are generated.

    Raises:
        ValueError: If there is not exactly one graph, or the generator cannot draw it.
    """
    layout = generator.layout
    if len(arch) != 1 or not bool(complete(arch, layout)):
        raise ValueError("a trace is of one graph at a time, one that the generator can draw")
    arch = arch.pad(layout.max_nodes)
    step = torch.arange(int(arch.num_nodes[0]), device=arch.device)
    prefix = torch.zeros_like(step)
    known = ArchitectureBatch.masked(arch.ops[prefix], arch.adj[prefix], step)
    logits, mixture = generator.predict(known)
    edges = arch.adj[0].T[: len(step)]
    log_op = logits.log_softmax(dim=1)
    op = arch.ops[0, : len(step)]
    free = mixture.free & (torch.arange(layout.max_nodes, device=arch.device) < step[:, None])
    log_edges = mixture.log_prob(edges)
    forced = layout.forced.to(arch.device).T[: len(step)]
    return Trace(
        op=op,
        op_probability=log_op.exp(),
        edges=edges,
        edge_probability=torch.where(free, mixture.probability(), forced.to(logits.dtype)),
        free=free,
        weight=mixture.alpha.softmax(dim=1),
        log_op=log_op.gather(1, op[:, None])[:, 0],
        log_edges=torch.where(free.any(dim=1), log_edges, 0.0),
    )
